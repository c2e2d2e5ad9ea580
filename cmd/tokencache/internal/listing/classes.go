package listing

import (
	"fmt"
	"io"
	"strings"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/imagenet"
)

// Class is a class of a model.
type Class struct {
	Class int    `json:"class"`
	Name  string `json:"name,omitempty"`
}

// Classes lists the classes of a model. Those of a model of 1000 classes without names are
// ImageNet's.
func Classes(w *dit.Weights) []Class {
	names := w.ClassNames
	if names == nil && w.NumClasses == imagenet.Count {
		names = imagenet.Names()
	}
	list := make([]Class, w.NumClasses)
	for i := range list {
		if list[i].Class = i; i < len(names) {
			list[i].Name = names[i]
		}
	}
	return list
}

// WriteClasses writes a line for each class.
func WriteClasses(out io.Writer, list []Class) error {
	for _, class := range list {
		if _, err := fmt.Fprintln(out, strings.TrimSpace(fmt.Sprint(class.Class, " ", class.Name))); err != nil {
			return err
		}
	}
	return nil
}
