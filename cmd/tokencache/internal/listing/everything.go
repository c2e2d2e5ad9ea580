package listing

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// All is everything that can be named, by its names alone.
type All struct {
	Models   []NamedModel `json:"models"`
	Methods  []string     `json:"methods"`
	Samplers []string     `json:"samplers"`
}

// NamedModel is a bundled model with the names of its policies and classes.
type NamedModel struct {
	Model
	ClassNames []string `json:"class_names"`
	Prompts    []string `json:"prompts,omitempty"` // of a text-to-image model: examples
}

// shownPrompts is how many of a model's prompts are examples enough.
const shownPrompts = 8

// Everything lists what can be named.
func Everything(ctx context.Context) (*All, error) {
	all := &All{}
	list, err := Models()
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		named := NamedModel{Model: m, Prompts: bundle.Lookup(m.Name).Prompts}
		if named.Prompts == nil {
			if named.ClassNames, err = classNames(ctx, m.Name); err != nil {
				return nil, err
			}
		}
		all.Models = append(all.Models, named)
	}
	for _, m := range reuse.Methods() {
		all.Methods = append(all.Methods, m.Name)
	}
	for _, s := range Samplers() {
		all.Samplers = append(all.Samplers, s.Name)
	}
	return all, nil
}

// classNames returns the names of a bundled model's classes.
func classNames(ctx context.Context, model string) (names []string, err error) {
	w, err := models.ResolveWeights(ctx, model, dit.Options{})
	if err != nil {
		return nil, err
	}
	for _, c := range Classes(w) {
		names = append(names, c.Name)
	}
	return names, w.Close()
}

// Write writes it for people.
func (a *All) Write(w io.Writer) error {
	for _, m := range a.Models {
		fmt.Fprintf(w, "model %s: %s\n", m.Name, m.Architecture)
		writeWrapped(w, "    ", "policies: "+strings.Join(m.Policies, ", "))
		if m.Prompts != nil {
			writeWrapped(w, "    ", "prompts, such as: "+strings.Join(m.Prompts[:min(len(m.Prompts), shownPrompts)], "; "))
			continue
		}
		writeWrapped(w, "    ", "classes: "+strings.Join(m.ClassNames, ", "))
	}
	writeWrapped(w, "", "methods for --policy: "+strings.Join(a.Methods, ", "))
	writeWrapped(w, "", "samplers: "+strings.Join(a.Samplers, ", "))
	_, err := fmt.Fprintln(w, "list models, policies, samplers or classes says more.")
	return err
}
