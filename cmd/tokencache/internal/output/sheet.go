package output

import (
	"fmt"
	"io"

	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
)

// maxOnSheet bounds a folder's sheet, so that it can be looked at: it shows the run's first images.
const maxOnSheet = 100

// maxSheetPixels bounds the sheet that is the whole output and has all images.
const maxSheetPixels = 50_000_000

// captionHeight is about the height of an image's caption, in pixels.
const captionHeight = 20

// checkSheet reports that a sheet of all the run's images is too large.
func checkSheet(run Run) error {
	tile := int64(run.Height+captionHeight) * int64(run.Width)
	for scale := int64(4); scale > 1; scale-- { // as sheet.Layout scales small images
		if int64(max(run.Height, run.Width))*scale <= 112 {
			tile = (int64(run.Height)*scale + captionHeight) * int64(run.Width) * scale
			break
		}
	}
	if limit := maxSheetPixels / tile; int64(len(run.Classes)) > limit {
		return fmt.Errorf("a sheet holds at most %d images of this size, not %d: give a folder or an .npz file",
			limit, len(run.Classes))
	}
	return nil
}

// contactSheet gathers the images that a contact sheet shows. Images that cycle through classes get
// a row for each class, as long as there is more than one image of a class; others follow one
// another.
type contactSheet struct {
	run    Run
	images []*raster.Image // by index
}

// newSheet returns the sheet of the run's first images, limit at most.
func newSheet(run Run, limit int) *contactSheet {
	return &contactSheet{run: run, images: make([]*raster.Image, min(len(run.Classes), limit))}
}

func (s *contactSheet) add(i int, m *raster.Image) {
	if i < len(s.images) {
		s.images[i] = m
	}
}

// period is the number of classes that the images cycle through, or 0 if they do not.
func (s *contactSheet) period() int {
	c := s.run.Classes[:len(s.images)]
	period := 1
	for period < len(c) && c[period] != c[0] {
		period++
	}
	for i := range c {
		if c[i] != c[i%period] {
			return 0
		}
	}
	return period
}

func (s *contactSheet) render() (*raster.Image, error) {
	n, period := len(s.images), s.period()
	layout := sheet.Layout{}
	var ordered []*raster.Image
	if period > 0 && n >= 2*period && n%period == 0 {
		layout.Columns = n / period
		for row := range period {
			layout.Rows = append(layout.Rows, s.run.caption(s.run.Classes[row]))
			for i := row; i < n; i += period {
				ordered = append(ordered, s.images[i])
			}
		}
	} else {
		ordered = s.images
		for _, class := range s.run.Classes[:n] {
			if s.run.Names != nil {
				layout.Names = append(layout.Names, s.run.caption(class))
			}
		}
		for layout.Columns = 1; layout.Columns*layout.Columns < n; layout.Columns++ {
		}
	}
	if n == 1 {
		layout.Scale = 1
	}
	return layout.Render(ordered)
}

// sheetFile writes a sheet, or a single image as it is.
type sheetFile struct {
	path   string
	sheet  *contactSheet
	stdout io.Writer     // takes the place of the file, unless nil
	found  []raster.Text // of the first image
}

func (f *sheetFile) Have(int) bool     { return false }
func (f *sheetFile) Complete() bool    { return false }
func (f *sheetFile) Remarks() []string { return nil }

func (f *sheetFile) Add(i int, m *raster.Image, found ...raster.Text) error {
	f.sheet.add(i, m)
	if i == 0 {
		f.found = found
	}
	return nil
}

func (f *sheetFile) Finish() ([]string, error) {
	m, texts := f.sheet.images[0], f.sheet.run.texts(0)
	if len(f.sheet.images) == 1 {
		texts = append(texts, f.found...)
	} else {
		var err error
		if m, err = f.sheet.render(); err != nil {
			return nil, err
		}
		texts = f.sheet.run.ofRun()
	}
	if f.stdout != nil {
		return []string{f.path}, raster.EncodePNG(f.stdout, m, texts...)
	}
	return []string{f.path}, raster.WritePNG(f.path, m, texts...)
}

func (f *sheetFile) Close() error { return nil }
