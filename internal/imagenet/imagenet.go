// Package imagenet has the names of ImageNet's thousand classes (ILSVRC 2012), which are WordNet's.
package imagenet

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

// Count is the number of classes.
const Count = 1000

//go:embed classes.txt
var text string

var names = sync.OnceValue(func() []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") })

// Names returns the classes' names by index. A name is all synonyms, the most common first,
// separated by ", ". Some synonyms belong to two classes.
func Names() []string { return slices.Clone(names()) }
