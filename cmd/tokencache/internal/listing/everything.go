package listing

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
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
}

// Everything lists what can be named.
func Everything(ctx context.Context) (*All, error) {
	all := &All{}
	list, err := Models()
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		w, err := models.ResolveWeights(ctx, m.Name, dit.Options{})
		if err != nil {
			return nil, err
		}
		named := NamedModel{Model: m}
		for _, c := range Classes(w) {
			named.ClassNames = append(named.ClassNames, c.Name)
		}
		if err := w.Close(); err != nil {
			return nil, err
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

// Write writes it for people.
func (a *All) Write(w io.Writer) error {
	for _, m := range a.Models {
		fmt.Fprintf(w, "model %s: %s\n", m.Name, m.Architecture)
		writeWrapped(w, "    ", "policies: "+strings.Join(m.Policies, ", "))
		writeWrapped(w, "    ", "classes: "+strings.Join(m.ClassNames, ", "))
	}
	writeWrapped(w, "", "methods for --policy: "+strings.Join(a.Methods, ", "))
	writeWrapped(w, "", "samplers: "+strings.Join(a.Samplers, ", "))
	_, err := fmt.Fprintln(w, "list models, policies, samplers or classes says more.")
	return err
}
