package output

import (
	"fmt"
	"image"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
)

// Images are the images of a folder that a run wrote, in their order.
type Images struct {
	Classes []int32  // -1 where an image does not say
	Prompts []string // "" where an image does not say; nil if none does
	paths   []string
}

// ReadFolder returns the images 000000.png, 000001.png, ... of dir, or nil if there are none. Images
// of two runs, images under others' names, and gaps between them are errors.
func ReadFolder(dir string) (*Images, error) {
	s := &Images{}
	files, err := numbered(dir)
	if err != nil {
		return nil, err
	}
	var first []raster.Text
	for i := 0; ; i++ {
		path, there := files[i]
		if !there {
			break
		}
		texts, err := raster.ReadTexts(path)
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
		if prompt, ok := textOf(texts, "prompt"); ok {
			s.Prompts = append(s.Prompts, make([]string, i-len(s.Prompts))...)
			s.Prompts = append(s.Prompts, prompt)
		}
	}
	if s.Prompts != nil {
		s.Prompts = append(s.Prompts, make([]string, len(s.paths)-len(s.Prompts))...)
	}
	if len(s.paths) == 0 {
		return nil, nil // other files may lie in a folder without an image 000000.png
	}
	for _, i := range slices.Sorted(maps.Keys(files)) {
		if i > len(s.paths) {
			return nil, fmt.Errorf("%06d.png is missing, and %s is there: the run is not complete",
				len(s.paths), filepath.Base(files[i]))
		}
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
		case "index", "class", "class name", "prompt", pngtext.IdentityKey:
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

// numbered returns the image files of a folder by their numbers.
func numbered(dir string) (map[int]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[int]string{}
	for _, e := range entries {
		m := imageName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		i, err := strconv.Atoi(m[1])
		if err != nil || fmt.Sprintf("%06d", i) != m[1] {
			continue
		}
		if other, twice := files[i]; twice {
			return nil, fmt.Errorf("%s and %s have one number: give the images of one run", other, e.Name())
		}
		files[i] = filepath.Join(dir, e.Name())
	}
	return files, nil
}

// Evaluated returns the images for an evaluation: none if s is nil.
func (s *Images) Evaluated() eval.Images {
	if s == nil {
		return eval.Images{}
	}
	return eval.Images{Count: len(s.Classes), Labels: s.Classes, Prompts: s.Prompts, Image: s.Image}
}

// Image returns image i.
func (s *Images) Image(i int) (image.Image, error) {
	m, err := readPNG(s.paths[i])
	if err != nil {
		return nil, err
	}
	return m.Std()
}
