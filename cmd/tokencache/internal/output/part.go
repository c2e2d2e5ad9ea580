package output

import (
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/shard"
)

// PartOptions say which part of a run is written instead of all of it.
type PartOptions struct {
	shard.Span
	// Outputs, if not nil, returns what a feature network says of the part's images.
	Outputs func(images eval.Images) (*eval.Part, error)
}

// partFile writes the images of a part of a run. Until all are there they gather in a partial file,
// as those of an npz file do.
type partFile struct {
	gathered *npzFile // of the span's images, counted from 0
	whole    Run
	part     shard.Part
	outputs  func(eval.Images) (*eval.Part, error)
}

// openPart opens the part of a run in the folder dir, where others may write other parts. A part
// that is there and whole is complete; what a killed process left of it is gone on with.
func openPart(dir string, run Run, mode Mode, o PartOptions) (Sink, error) {
	if k, err := kindOf(dir); err != nil || k != kindFolder {
		return nil, errors.Join(fmt.Errorf("output %s: parts are written to a folder", dir), err)
	}
	f := &partFile{whole: run, outputs: o.Outputs, part: shard.Part{
		Run:      run.about(),
		Span:     o.Span,
		Height:   run.Height,
		Width:    run.Width,
		Channels: run.Channels,
		Texts:    run.Texts,
		Names:    map[int64]string{},
	}}
	own := run
	own.Classes = run.Classes[o.First:o.End]
	own.Identity += "/" + f.part.Name()
	for _, class := range own.Classes {
		f.part.Classes = append(f.part.Classes, int64(class))
		if class < len(run.Names) {
			f.part.Names[int64(class)] = run.Names[class]
		}
	}
	path := filepath.Join(dir, f.part.Name())
	return guarded(path, fileAndState(path), dir, func() (Sink, error) {
		f.gathered = &npzFile{path: path, run: own, had: make([]bool, o.Len())}
		if !mode.Overwrite && shard.Verify(path) == nil {
			f.gathered.complete = true
			for i := range f.gathered.had {
				f.gathered.had[i] = true
			}
			f.gathered.have = f.gathered.had
			return f, f.gathered.removePartial()
		}
		return f, f.gather(mode)
	})
}

// gather opens the partial file. Where images have findings they begin again, since it has none.
func (f *partFile) gather(mode Mode) error {
	g := f.gathered
	if mode.Overwrite || mode.Findings {
		if err := g.removePartial(); err != nil {
			return err
		}
	}
	if mode.Findings {
		f.part.Found = make([][]raster.Text, len(g.had))
	}
	_, described, err := g.begun()
	if err != nil {
		return err
	}
	if err := g.openPartial(Mode{Resume: true}, described); err != nil {
		return err
	}
	g.have = slices.Clone(g.had)
	return nil
}

// Have reports the images of other parts, too.
func (f *partFile) Have(i int) bool {
	return !f.part.Span.Contains(i) || f.gathered.Have(i-f.part.Span.First)
}

func (f *partFile) Complete() bool    { return f.gathered.complete }
func (f *partFile) Remarks() []string { return f.gathered.remarks }

func (f *partFile) Add(i int, m *raster.Image, found ...raster.Text) error {
	at := i - f.part.Span.First
	if f.part.Found != nil {
		f.part.Found[at] = found
	}
	return f.gathered.Add(at, m)
}

func (f *partFile) Finish() ([]string, error) {
	g := f.gathered
	if g.complete {
		return []string{g.path}, nil
	}
	if i := slices.Index(g.have, false); i >= 0 {
		return nil, fmt.Errorf("output %s: image %d was never finished", g.path, f.part.Span.First+i)
	}
	if f.outputs != nil {
		var err error
		if f.part.Outputs, err = f.outputs(f.images()); err != nil {
			return nil, fmt.Errorf("output %s: %w", g.path, err)
		}
	}
	if err := f.part.Write(filepath.Dir(g.path), g.image()); err != nil {
		return nil, err
	}
	return []string{g.path}, errors.Join(g.partial.file.Close(), g.removePartial())
}

// images are those that were gathered.
func (f *partFile) images() eval.Images {
	read := f.gathered.image()
	return eval.Images{Count: len(f.gathered.have), Image: func(i int) (image.Image, error) {
		pixels, err := read(i)
		if err != nil {
			return nil, err
		}
		m := raster.Image{Height: f.part.Height, Width: f.part.Width, Channels: f.part.Channels, Pix: slices.Clone(pixels)}
		return m.Std()
	}}
}

func (f *partFile) Close() error { return f.gathered.Close() }
