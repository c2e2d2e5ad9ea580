package main

import (
	"regexp"
	"slices"

	"github.com/alecthomas/kong"
)

// negative matches arguments that begin a negative number. No short flag is a digit.
var negative = regexp.MustCompile(`^-\.?[0-9]`)

// joinNegatives joins negative numbers to the flags before them, whose values they are: the parser
// would take them for short flags, and not say what the flag's range is.
func joinNegatives(model *kong.Application, args []string) []string {
	join := map[string]string{} // by flags that have values, what stands between flag and value
	_ = kong.Visit(model, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok && !f.IsBool() && !f.IsCounter() {
			for _, name := range append(slices.Clone(f.Aliases), f.Name) {
				join["--"+name] = "="
			}
			if f.Short != 0 {
				join["-"+string(f.Short)] = ""
			}
		}
		return next(nil)
	})
	var joined []string
	for i, arg := range args {
		if i > 0 && negative.MatchString(arg) {
			if between, ok := join[args[i-1]]; ok {
				joined[len(joined)-1] += between + arg
				continue
			}
		}
		joined = append(joined, arg)
	}
	return joined
}
