// Package models holds the models that come with the program, each in a folder of its own with a card that says how it was made. It may
// import what opens them, and no more; the library does not import it, so that programs that bring their own model do not carry these.
package models

import (
	"bytes"
	"embed"
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/eval"
)

// Default is the name of the model that is used where none is named.
const Default = "fashion"

// Guidance is the scale of classifier-free guidance at which each model is at its best.
var Guidance = map[string]float64{"fashion": 1.5, "fashion-mdt": 1.5}

// Official returns how a model's own code samples it: the guidance of DiT, or MDT's that grows. A
// model without a null class has none.
func Official(c dit.Config) diffusion.Sampling {
	if c.NoNullClass {
		return diffusion.Sampling{Guidance: 1}
	}
	if c.Arch == dit.ArchDiT {
		return diffusion.Sampling{Guidance: 4}
	}
	return diffusion.Sampling{Guidance: 3.8, GuidancePower: 4}
}

//go:embed fashion/*.safetensors fashion/policies/*/*.json fashion/policies/*/*.safetensors
//go:embed fashion-mdt/*.safetensors fashion-mdt/policies/*/*.json fashion-mdt/policies/*/*.safetensors
var files embed.FS

// Names lists the models.
func Names() []string { return []string{"fashion", "fashion-mdt"} }

// Open opens a model by name.
func Open(name string) (*dit.Weights, error) {
	f, err := open(name, "model.safetensors")
	if err != nil {
		return nil, err
	}
	return dit.FromFile(f, dit.Options{})
}

// Classifier returns the network that judges pictures of the kind that the named model draws: one for all, as all draw the same kind.
func Classifier(name string) (*eval.Classifier, error) {
	if _, err := open(name, "model.safetensors"); err != nil {
		return nil, err
	}
	f, err := open(Default, "classifier.safetensors")
	if err != nil {
		return nil, err
	}
	return eval.OpenClassifier(f)
}

func open(name, file string) (*checkpoint.File, error) {
	path := name + "/" + file
	b, err := files.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("there is no embedded model %q: want one of %s", name, strings.Join(Names(), ", "))
	}
	return checkpoint.NewReader("embedded "+path, bytes.NewReader(b), int64(len(b)))
}
