package train

import (
	"cmp"
	"slices"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
)

// CaptionClasses are captioned images as those of classes: one for each thing, which is what lines
// with one "thing" show or, without it, those with one first caption, as eval.CaptionKey gives it.
type CaptionClasses struct {
	Names    []string   // of each class: the shortest of its captions that names no other
	Captions [][]string // of each class, see eval.ClassifierConfig
	Labels   []int32    // of each image
	Mirror   []bool     // of each image: mirrored, it is of its class, too
}

// ClassesOf returns the classes of images with captions, in the order in which they occur.
func ClassesOf(captions []data.Captions) CaptionClasses {
	var c CaptionClasses
	classes := map[[2]string]int32{}
	named := map[string]int{} // classes that have a caption
	for _, line := range captions {
		thing := [2]string{line.Thing}
		if line.Thing == "" {
			thing[1] = eval.CaptionKey(line.Texts[0])
		}
		class, known := classes[thing]
		if !known {
			class = int32(len(c.Captions))
			classes[thing] = class
			c.Captions = append(c.Captions, []string{})
		}
		for _, text := range line.Texts {
			key := eval.CaptionKey(text)
			if key != "" && !slices.Contains(c.Captions[class], key) {
				c.Captions[class] = append(c.Captions[class], key)
				named[key]++
			}
		}
		c.Labels, c.Mirror = append(c.Labels, class), append(c.Mirror, line.Mirror)
	}
	for _, keys := range c.Captions {
		c.Names = append(c.Names, shortest(keys, named))
	}
	return c
}

// shortest returns the shortest of a class's captions, of those that name no other class if there
// are any.
func shortest(keys []string, named map[string]int) string {
	if len(keys) == 0 {
		return ""
	}
	return slices.MinFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(min(named[a], 2), min(named[b], 2)), cmp.Compare(len(a), len(b)))
	})
}
