package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/raster"
)

// Image is an image of a run, as Each hands it over.
type Image struct {
	Index  int
	Pixels []byte // valid during the call
	Found  []raster.Text
}

// Each calls take with every image of the run in order, of which none may be missing. It has one
// part open and one image in memory at a time, and compares the pixels with the parts' checksums.
func (r *Parts) Each(take func(m Image) error) error {
	for _, p := range r.pieces() {
		f, err := Open(p.Path)
		if err != nil {
			return err
		}
		if !f.Run.Same(r.Run) || f.Span != p.Span {
			return errors.Join(fmt.Errorf("part %s: it was replaced meanwhile", p.Path), f.Close())
		}
		first := r.Parts[0]
		if f.Height != first.Height || f.Width != first.Width || f.Channels != first.Channels {
			return errors.Join(fmt.Errorf("part %s: images of %dx%d pixels and %d channels, want %dx%d and %d", p.Path,
				f.Height, f.Width, f.Channels, first.Height, first.Width, first.Channels), f.Close())
		}
		err = f.Images(func(i int, pixels []byte) error {
			if !p.take.Contains(i) {
				return nil
			}
			m := Image{Index: i, Pixels: pixels}
			if f.Found != nil {
				m.Found = f.Found[i-f.Span.First]
			}
			return take(m)
		})
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Classes returns the class of every image, compared with the run's.
func (r *Parts) Classes() ([]int64, error) {
	classes := make([]int64, 0, r.Run.Images)
	for _, p := range r.pieces() {
		classes = append(classes, p.Part.Classes[p.take.First-p.Span.First:]...)
	}
	if got := ClassHash(classes); got != r.Run.Classes {
		return nil, fmt.Errorf("the parts' classes are not the run's: their hash is %s, want %s", got, r.Run.Classes)
	}
	return classes, nil
}

// Prompts returns the prompt of every image; nil if the images are of classes.
func (r *Parts) Prompts() ([]string, error) {
	if !r.Run.Prompts {
		return nil, nil
	}
	var prompts []string
	for _, p := range r.pieces() {
		for i := p.take.First; i < p.take.End; i++ {
			prompt, ok := p.Names[p.Part.Classes[i-p.Span.First]]
			if !ok {
				return nil, fmt.Errorf("part %s: image %d has no prompt", p.Path, i)
			}
			prompts = append(prompts, prompt)
		}
	}
	return prompts, nil
}

// WriteArchive creates or replaces the npz file at path, whole or not at all: the bytes that one
// process writes of the run.
func (r *Parts) WriteArchive(path string) error {
	classes, err := r.Classes()
	if err != nil {
		return err
	}
	prompts, err := r.Prompts()
	if err != nil {
		return err
	}
	about, err := r.Run.About()
	if err != nil {
		return err
	}
	first := r.Parts[0]
	return npz.Write(path, func(w *npz.Writer) error {
		images, err := npz.Stream[uint8](w, imagesArray, r.Run.Images, first.Height, first.Width, first.Channels)
		if err != nil {
			return err
		}
		if err := r.Each(func(m Image) error { return images.Append(m.Pixels) }); err != nil {
			return err
		}
		if r.Run.Labels {
			if err := npz.Put(w, classesArray, classes, len(classes)); err != nil {
				return err
			}
		}
		if prompts != nil {
			if err := npz.PutText(w, npz.PromptsArray, prompts); err != nil {
				return err
			}
		}
		return w.About(about)
	})
}

// About is what an archive says of its run.
func (r Run) About() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", " ")
	return append(text, '\n'), err
}

// Reader reads single images of a run. It keeps the part open that it read last.
type Reader struct {
	parts *Parts
	last  *File
}

// NewReader returns a reader of the run's images.
func (r *Parts) NewReader() *Reader { return &Reader{parts: r} }

// Image returns image i of the run. Its pixels are not compared with a checksum.
func (r *Reader) Image(i int) (*raster.Image, error) {
	if r.last == nil || !r.last.Span.Contains(i) {
		if err := r.open(i); err != nil {
			return nil, err
		}
	}
	f := r.last
	pixels, err := f.Image(i)
	if err != nil {
		return nil, fmt.Errorf("part %s: %w", f.Path, err)
	}
	return &raster.Image{Height: f.Height, Width: f.Width, Channels: f.Channels, Pix: pixels}, nil
}

// open opens a part that has image i.
func (r *Reader) open(i int) error {
	if err := r.Close(); err != nil {
		return err
	}
	at := slices.IndexFunc(r.parts.Parts, func(p *Described) bool { return p.Span.Contains(i) })
	if at < 0 {
		return fmt.Errorf("image %d of %d: no part has it", i, r.parts.Run.Images)
	}
	var err error
	r.last, err = Open(r.parts.Parts[at].Path)
	return err
}

// Close closes the part that is open.
func (r *Reader) Close() error {
	if r.last == nil {
		return nil
	}
	err := r.last.Close()
	r.last = nil
	return err
}

// Outputs returns what the network of an identity says of the run's images, none of which may be
// missing; nil if not all parts have it, or if they overlap.
func (r *Parts) Outputs(network string) (*eval.Predictions, error) {
	pieces := r.pieces()
	for _, p := range pieces {
		if p.Network != network || p.take != p.Span {
			return nil, nil
		}
	}
	var m eval.Merger
	for _, p := range pieces {
		f, err := Open(p.Path)
		if err != nil {
			return nil, err
		}
		outputs, err := f.ReadOutputs()
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if err := m.Add(outputs); err != nil {
			return nil, fmt.Errorf("part %s: %w", p.Path, err)
		}
	}
	return m.Predictions()
}
