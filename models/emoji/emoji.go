// Package emoji embeds a text-to-image model of 64x64 colour images, MiniT2I's design at small
// scale, its policies, and the network that says which of its prompts an image shows. README.md says
// how they were made, what the model memorises, and what it cannot do.
package emoji

import (
	"embed"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models/bundle"
)

//go:embed model.safetensors classifier.safetensors policies
var files embed.FS

// Bundle is the model. Importing the package registers it.
var Bundle = bundle.Register(&bundle.Bundle{
	Name:     "emoji",
	Files:    files,
	Sampling: diffusion.Sampling{Sampler: "euler", Steps: 50, Guidance: 2},
	Speed:    3,
	Prompts: []string{
		"a red heart, 3d style",
		"a pizza, noto style",
		"grinning face, noto style",
		"a rocket, 3d style",
		"a sunflower, noto style",
		"a red apple, 3d style",
		"a rainbow, noto style",
		"a cat face, noto style",
		"a cactus, 3d style",
		"a key, noto style",
		"smiling face with sunglasses, 3d style",
		"a blue heart, noto style",
		"a mushroom, 3d style",
		"a wine glass, noto style",
		"a house, 3d style",
		"a hamburger, noto style",
		"a strawberry, 3d style",
		"a frog face, noto style",
		"a full moon, 3d style",
		"a gem stone, noto style",
		"a raised fist, dark skin tone, 3d style",
		"a snowman, noto style",
		"a car, 3d style",
		"a green apple, noto style",
		"a fish, 3d style",
		"a lemon, noto style",
		"a penguin, noto style",
		"a cherry blossom, 3d style",
		"a star, noto style",
		"thumbs up, medium skin tone, noto style",
	},
})
