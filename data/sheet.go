package data

import (
	"errors"

	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
)

const (
	sheetColumns = 10
	// maxSheetRows bounds a sheet, so that it can be looked at and its memory stays small.
	maxSheetRows = 100
	// maxSheetSide is the size in pixels to which larger images are brought on a sheet.
	maxSheetSide = 128
)

// Sheet sets out the first images of each class, up to 10, a row for each class with its name;
// without labels, the first hundred images. It shows the first 100 classes. A broken image is left
// out if Options said so.
func (s *Set) Sheet() (*Image, error) {
	var layout sheet.Layout
	layout.Columns = sheetColumns
	var images []*raster.Image
	for _, row := range s.sheetRows() {
		shown := 0
		for _, i := range row.images {
			m, err := s.sheetImage(i)
			switch {
			case err == nil:
				images = append(images, m)
				shown++
			case !skipped(err):
				return nil, err
			}
		}
		for ; shown < sheetColumns; shown++ {
			m, err := s.blank()
			if err != nil {
				return nil, err
			}
			images = append(images, m)
		}
		if s.Classes != nil {
			layout.Rows = append(layout.Rows, row.name)
		}
	}
	if len(images) == 0 {
		return nil, errors.New("data: no images for a sheet")
	}
	m, err := layout.Render(images)
	return (*Image)(m), err
}

// sheetRow is the images next to one caption.
type sheetRow struct {
	name   string
	images []int
}

func (s *Set) sheetRows() []sheetRow {
	if s.Classes == nil {
		rows := make([]sheetRow, min((s.Len()+sheetColumns-1)/sheetColumns, maxSheetRows/sheetColumns))
		for i := range min(s.Len(), len(rows)*sheetColumns) {
			rows[i/sheetColumns].images = append(rows[i/sheetColumns].images, i)
		}
		return rows
	}
	rows := make([]sheetRow, min(len(s.Classes), maxSheetRows))
	for class := range rows {
		rows[class].name = s.Classes[class]
	}
	for i, label := range s.Labels {
		if int(label) < len(rows) && len(rows[label].images) < sheetColumns {
			rows[label].images = append(rows[label].images, i)
		}
	}
	return rows
}

func (s *Set) sheetSide() int { return min(s.Size, maxSheetSide) }

func (s *Set) sheetImage(i int) (*raster.Image, error) {
	m, err := s.Image(i)
	if err != nil || s.Size <= maxSheetSide {
		return (*raster.Image)(m), err
	}
	return raster.Resize((*raster.Image)(m), maxSheetSide, maxSheetSide, raster.Bicubic)
}

// blank is a white image, in the place of one that is not there.
func (s *Set) blank() (*raster.Image, error) {
	m, err := raster.New(s.sheetSide(), s.sheetSide(), s.Channels)
	if err != nil {
		return nil, err
	}
	for i := range m.Pix {
		m.Pix[i] = 255
	}
	return m, nil
}
