// Package fashionmdt embeds an MDTv2 of the same images as package fashion's model, and its
// policies. Its images are evaluated by fashion's classifier, which a program that needs it links
// by importing fashion. README.md says how the model was made.
package fashionmdt

import (
	"embed"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models/bundle"
)

//go:embed model.safetensors policies
var files embed.FS

// Bundle is the model. Importing the package registers it.
var Bundle = bundle.Register(&bundle.Bundle{
	Name:         "fashion-mdt",
	Files:        files,
	Sampling:     diffusion.Sampling{Guidance: 1.5},
	ClassifierOf: "fashion",
})
