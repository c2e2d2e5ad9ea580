// Package fashion embeds a DiT of 28x28 grey images of ten kinds of clothing, its policies, and the
// classifier that evaluates such images. README.md says how they were made.
package fashion

import (
	"embed"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models/bundle"
)

//go:embed model.safetensors classifier.safetensors policies
var files embed.FS

// Bundle is the model. Importing the package registers it.
var Bundle = bundle.Register(&bundle.Bundle{
	Name:      "fashion",
	Files:     files,
	Sampling:  diffusion.Sampling{Guidance: 1.5},
	Guidances: [2]float64{1, 4},
})
