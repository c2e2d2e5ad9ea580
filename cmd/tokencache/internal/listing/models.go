// Package listing describes what can be named on the command line: bundled models, policies,
// samplers and classes, each as a list for JSON and as text. It knows no flags.
package listing

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
)

// Model is a bundled model.
type Model struct {
	Name         string   `json:"name"`
	Architecture string   `json:"architecture"`
	Size         int      `json:"size"` // side of the images, in pixels
	Channels     int      `json:"channels"`
	Classes      int      `json:"classes"`
	Guidance     float64  `json:"guidance"`
	Policies     []string `json:"policies"`
}

// describe describes a bundled model.
func describe(b *bundle.Bundle) (Model, error) {
	w, err := b.Weights()
	if err != nil {
		return Model{}, err
	}
	defer w.Close()
	m := Model{
		Name:         b.Name,
		Architecture: w.Config.Name(),
		Size:         w.InputSize,
		Channels:     w.InChannels,
		Classes:      w.NumClasses,
		Guidance:     b.Sampling.WithDefaults().Guidance,
	}
	policies, err := b.Policies()
	for _, t := range policies {
		m.Policies = append(m.Policies, t.String())
	}
	return m, err
}

// Models describes the bundled models.
func Models() ([]Model, error) {
	var list []Model
	for _, name := range models.Names() {
		m, err := describe(bundle.Lookup(name))
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// WriteModels writes a line for each model.
func WriteModels(out io.Writer, list []Model) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range list {
		fmt.Fprintf(w, "%s\t%s; %dx%d pixels, %d classes, guidance %g, %d policies\n",
			m.Name, m.Architecture, m.Size, m.Size, m.Classes, m.Guidance, len(m.Policies))
	}
	return w.Flush()
}
