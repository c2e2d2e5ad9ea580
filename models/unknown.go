package models

import (
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/internal/spelling"
)

// UnknownError reports a name that is none of those there are.
type UnknownError struct {
	Kind  string // of what has the name
	Name  string
	Known []string
	Or    string // what else could have been given, or ""
}

func (e *UnknownError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "unknown %s %q: ", e.Kind, e.Name)
	if near := spelling.Nearest(e.Known, e.Name); near != "" {
		fmt.Fprintf(&b, "did you mean %s? ", near)
	}
	fmt.Fprintf(&b, "want one of %s", strings.Join(e.Known, ", "))
	if e.Or != "" {
		fmt.Fprintf(&b, ", or %s", e.Or)
	}
	return b.String()
}
