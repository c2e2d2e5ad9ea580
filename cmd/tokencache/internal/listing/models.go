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
	Classes      int      `json:"classes"` // 0: it takes prompts
	Guidance     float64  `json:"guidance"`
	Policies     []string `json:"policies"`
}

// rgb is the number of channels of a text-to-image model's images.
const rgb = 3

// describe describes a bundled model.
func describe(b *bundle.Bundle) (Model, error) {
	m := Model{Name: b.Name, Guidance: b.Sampling.WithDefaults().Guidance}
	if b.Prompts != nil {
		w, err := b.TextWeights()
		if err != nil {
			return Model{}, err
		}
		defer w.Close()
		m.Architecture, m.Size, m.Channels = w.Config.Name(), w.ImageSize, rgb
	} else {
		w, err := b.Weights()
		if err != nil {
			return Model{}, err
		}
		defer w.Close()
		m.Architecture, m.Size, m.Channels, m.Classes = w.Config.Name(), w.InputSize, w.InChannels, w.NumClasses
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
		takes := fmt.Sprintf("%d classes", m.Classes)
		if m.Classes == 0 {
			takes = "prompts"
		}
		fmt.Fprintf(w, "%s\t%s; %dx%d pixels, %s, guidance %g, %d policies\n",
			m.Name, m.Architecture, m.Size, m.Size, takes, m.Guidance, len(m.Policies))
	}
	return w.Flush()
}
