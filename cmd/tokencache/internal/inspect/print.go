package inspect

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes the report for people: a line for each fact, then the tensors.
func (r *Report) Print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", key, value)
		}
	}
	line("file", r.File)
	line("format", r.Format)
	line("taken", r.Taken)
	line("is", r.Architecture)
	line("cannot run", r.Reason)
	for _, p := range r.Properties {
		line(p.Name, p.Value)
	}
	for _, e := range r.Entries {
		line("also holds", e.Name+": "+e.Value)
	}
	if err := w.Flush(); err != nil || len(r.Tensors) == 0 {
		return err
	}
	fmt.Fprintf(to, "\n%d tensors:\n", len(r.Tensors))
	for _, t := range r.Tensors {
		fmt.Fprintf(w, "  %s\t%s\t%v\n", t.Name, t.DType, t.Shape)
	}
	return w.Flush()
}
