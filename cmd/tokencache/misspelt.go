package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache/internal/spelling"
)

// misspelt returns an error of parsing with the command that an unexpected argument may have meant,
// where kong does not look for it: it takes the command that is the default of another, and then
// does not know what to do with the word.
func misspelt(err error) error {
	parse := (*kong.ParseError)(nil)
	if !errors.As(err, &parse) {
		return err
	}
	word, ok := strings.CutPrefix(err.Error(), "unexpected argument ")
	command := parse.Context.Selected()
	if !ok || command == nil || command.Parent == nil || command.Parent.DefaultCmd != command {
		return err
	}
	var names []string
	for _, c := range command.Parent.Children {
		names = append(names, c.Name)
	}
	if near := spelling.Nearest(names, word); near != "" {
		return fmt.Errorf("%w, did you mean %q?", err, near)
	}
	return fmt.Errorf("%w: want %s", err, strings.Join(names, ", "))
}
