package output

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/tokencache/tokencache/internal/imagefile"
	"github.com/tokencache/tokencache/internal/raster"
)

// folder writes each image to a PNG file as soon as it is finished, and at the end a sheet.
type folder struct {
	dir   string
	run   Run
	sheet *contactSheet
	have  []bool // when the folder was opened
}

func openFolder(dir string, run Run, resume bool) (Sink, error) {
	f := &folder{dir: dir, run: run, sheet: newSheet(run), have: make([]bool, len(run.Classes))}
	if !resume {
		return f, nil
	}
	for i := range f.have {
		if err := f.find(i); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *folder) path(i int) string { return filepath.Join(f.dir, fmt.Sprintf("%06d.png", i)) }

// find takes image i over if it is there, whole, and of this run.
func (f *folder) find(i int) error {
	texts, err := raster.ReadTexts(f.path(i))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("resume: %w; remove the file to generate it again", err)
	}
	if d, differs := f.differs(i, texts); differs {
		return fmt.Errorf("resume: %s is of another run: its %s is %q, this run's is %q", f.path(i), d.key, d.got, d.want)
	}
	f.have[i] = true
	if i < len(f.sheet.images) {
		m, err := readPNG(f.path(i))
		if err != nil {
			return err
		}
		f.sheet.add(i, m)
	}
	return nil
}

// differs says how an image with the texts found differs from image i of the run.
func (f *folder) differs(i int, found []raster.Text) (difference, bool) {
	if d, differs := f.run.differs(found); differs {
		return d, true
	}
	return firstDifference(f.run.ofImage(i), found)
}

func (f *folder) Have(i int) bool { return f.have[i] }

func (f *folder) Add(i int, m *raster.Image, found ...raster.Text) error {
	f.sheet.add(i, m)
	return raster.WritePNG(f.path(i), m, append(f.run.texts(i), found...)...)
}

func (f *folder) Finish() ([]string, error) {
	if len(f.have) == 1 {
		return []string{f.path(0)}, nil
	}
	m, err := f.sheet.render()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(f.dir, "sheet.png")
	return []string{path}, raster.WritePNG(path, m, f.run.ofRun()...)
}

func (f *folder) Close() error { return nil }

// readPNG reads an image that this program wrote.
func readPNG(path string) (*raster.Image, error) {
	m, err := imagefile.ReadFile(context.Background(), path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return (*raster.Image)(m), nil
}
