package listing

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// Policy is a bundled policy.
type Policy struct {
	Name     string  `json:"name"`
	Method   string  `json:"method"`
	Sampler  string  `json:"sampler"`
	Steps    string  `json:"steps"`
	Guidance float64 `json:"guidance"`
	Speed    float64 `json:"speed"` // times the uncached model, as wanted; 0: made for none
	PSNR     float64 `json:"psnr_db,omitempty"`
}

// Policies lists the policies that are bundled with a model.
func Policies(b *bundle.Bundle) ([]Policy, error) {
	bundled, err := b.Policies()
	list := []Policy{}
	for _, t := range bundled {
		list = append(list, Policy{
			Name:     t.String(),
			Method:   t.Title(),
			Sampler:  t.Sampler,
			Steps:    t.StepsText(),
			Guidance: t.Guidance,
			Speed:    t.Speed.Wanted,
			PSNR:     t.PSNR,
		})
	}
	return list, err
}

// WritePolicies writes a line for each policy.
func WritePolicies(out io.Writer, list []Policy) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%s; %s, %s steps, guidance %g", p.Name, p.Method, p.Sampler, p.Steps, p.Guidance)
		if p.Speed > 0 {
			fmt.Fprintf(w, ": %gx", p.Speed)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// WriteMethods writes the methods that reuse.Parse knows, with their parameters.
func WriteMethods(w io.Writer) {
	for _, m := range reuse.Methods() {
		summary := m.Summary
		if m.Paper != "" {
			summary += " (" + m.Paper + ")"
		}
		fmt.Fprintln(w, m.Name)
		writeWrapped(w, "    ", summary)
		for _, p := range m.Params {
			text := fmt.Sprintf("%s=%s: %s", p.Name, p.Values, p.Help)
			if p.Default != "" {
				text += "; default " + p.Default
			}
			writeWrapped(w, "      ", text)
		}
	}
}

// writeWrapped writes a text in lines of at most 100 columns, the first after indent, the others
// deeper.
func writeWrapped(w io.Writer, indent, text string) {
	for i, line := range wrap(text, 96-len(indent)) {
		if i > 0 {
			line = "  " + line
		}
		fmt.Fprintln(w, indent+line)
	}
}

// wrap breaks a text into lines of at most width bytes, where its words allow.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
