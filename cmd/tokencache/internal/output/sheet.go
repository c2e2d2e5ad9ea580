package output

import (
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
)

// maxOnSheet bounds a sheet, so that it can be looked at and memory stays small: it shows the run's
// first images.
const maxOnSheet = 100

// contactSheet gathers the images that a contact sheet shows. Images that cycle through classes get
// a row for each class, as long as there is more than one image of a class; others follow one
// another.
type contactSheet struct {
	run    Run
	images []*raster.Image // by index
}

func newSheet(run Run) *contactSheet {
	return &contactSheet{run: run, images: make([]*raster.Image, min(len(run.Classes), maxOnSheet))}
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
	path  string
	sheet *contactSheet
	found []raster.Text // of the first image
}

func (f *sheetFile) Have(int) bool { return false }

func (f *sheetFile) Add(i int, m *raster.Image, found ...raster.Text) error {
	f.sheet.add(i, m)
	if i == 0 {
		f.found = found
	}
	return nil
}

func (f *sheetFile) Finish() ([]string, error) {
	if len(f.sheet.images) == 1 {
		return []string{f.path}, raster.WritePNG(f.path, f.sheet.images[0], append(f.sheet.run.texts(0), f.found...)...)
	}
	m, err := f.sheet.render()
	if err != nil {
		return nil, err
	}
	return []string{f.path}, raster.WritePNG(f.path, m, f.sheet.run.ofRun()...)
}

func (f *sheetFile) Close() error { return nil }
