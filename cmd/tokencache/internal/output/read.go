package output

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
)

// Images are the images of a folder that a run wrote, in their order.
type Images struct {
	Classes []int32 // -1 where an image does not say
	paths   []string
}

// ReadFolder returns the images 000000.png, 000001.png, ... of dir, or nil if there are none. Images
// of two runs, images under others' names, and gaps between them are errors.
func ReadFolder(dir string) (*Images, error) {
	s := &Images{}
	f := folder{dir: dir}
	var first []raster.Text
	for i := 0; ; i++ {
		path := f.path(i)
		texts, err := raster.ReadTexts(path)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = texts
		}
		if err := sameRun(first, texts, i); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		class := -1
		if text, ok := textOf(texts, "class"); ok {
			if class, err = strconv.Atoi(text); err != nil {
				return nil, fmt.Errorf("%s: class %q is not a number", filepath.Base(path), text)
			}
		}
		s.paths, s.Classes = append(s.paths, path), append(s.Classes, int32(class))
	}
	if err := f.checkGaps(len(s.paths)); err != nil {
		return nil, err
	}
	if len(s.paths) == 0 {
		return nil, nil
	}
	return s, nil
}

// sameRun checks that an image is number i of the run that the first one is of, where they say so.
func sameRun(first, texts []raster.Text, i int) error {
	if index, ok := textOf(texts, "index"); ok && index != strconv.Itoa(i) {
		return fmt.Errorf("it is image %s of its run: the folder is not as a run wrote it", index)
	}
	want, _ := textOf(first, pngtext.IdentityKey)
	if got, _ := textOf(texts, pngtext.IdentityKey); got == want {
		return nil
	}
	d := difference{key: otherContent}
	for _, t := range first {
		switch t.Key {
		case "index", "class", "class name", pngtext.IdentityKey:
			continue
		}
		if got, ok := textOf(texts, t.Key); ok && got != t.Value {
			d = difference{t.Key, got, t.Value}
			break
		}
	}
	return fmt.Errorf("it is of another run than 000000.png: its %s is %q there and %q here: "+
		"give the images of one run", d.key, d.want, d.got)
}

func textOf(texts []raster.Text, key string) (value string, ok bool) {
	i := slices.IndexFunc(texts, func(t raster.Text) bool { return t.Key == key })
	if i < 0 {
		return "", false
	}
	return texts[i].Value, true
}

// checkGaps reports images beyond the first n, which those between are missing of. Other files may
// lie in a folder without an image 000000.png.
func (f *folder) checkGaps(n int) error {
	if n == 0 {
		return nil
	}
	names, err := f.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if i, err := strconv.Atoi(strings.TrimSuffix(name, ".png")); err == nil && i > n {
			return fmt.Errorf("%s is missing, and %s is there: the run is not complete", f.path(n), name)
		}
	}
	return nil
}

// Evaluated returns the images for an evaluation: none if s is nil.
func (s *Images) Evaluated() eval.Images {
	if s == nil {
		return eval.Images{}
	}
	return eval.Images{Count: len(s.Classes), Labels: s.Classes, Image: s.Image}
}

// Image returns image i.
func (s *Images) Image(i int) (image.Image, error) {
	m, err := readPNG(s.paths[i])
	if err != nil {
		return nil, err
	}
	return m.Std()
}
