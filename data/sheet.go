package data

import (
	"context"
	"errors"

	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
)

const (
	sheetColumns = 10
	// mostRows bounds a sheet, so that it can be looked at and its memory stays small.
	mostRows = 100
	// mostSheetSide is the size in pixels to which larger images are brought on a sheet.
	mostSheetSide = 128
)

// Sheet draws the first images of each class, up to 10, a row for each class with its name; without labels, the first hundred images.
// It shows the first 100 classes. A broken image is skipped if Options said so.
func (s *Set) Sheet(ctx context.Context) (*raster.Image, error) {
	var layout sheet.Layout
	layout.Columns = sheetColumns
	var pictures []*raster.Image
	for _, row := range s.sheetRows() {
		shown := 0
		for _, i := range row.images {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			m, err := s.sheetPicture(i)
			if err == nil {
				pictures = append(pictures, m)
				shown++
			} else if err := s.options.broken(err); err != nil {
				return nil, err
			}
		}
		for ; shown < sheetColumns; shown++ {
			m, err := s.blank()
			if err != nil {
				return nil, err
			}
			pictures = append(pictures, m)
		}
		if s.Classes != nil {
			layout.Rows = append(layout.Rows, row.name)
		}
	}
	if len(pictures) == 0 {
		return nil, errors.New("data: no images for a sheet")
	}
	return layout.Render(pictures)
}

// sheetRow is the images beside one caption.
type sheetRow struct {
	name   string
	images []int
}

func (s *Set) sheetRows() []sheetRow {
	if s.Classes == nil {
		rows := make([]sheetRow, min((s.Len()+sheetColumns-1)/sheetColumns, mostRows/sheetColumns))
		for i := range min(s.Len(), len(rows)*sheetColumns) {
			rows[i/sheetColumns].images = append(rows[i/sheetColumns].images, i)
		}
		return rows
	}
	rows := make([]sheetRow, min(len(s.Classes), mostRows))
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

func (s *Set) sheetSide() int { return min(s.Size, mostSheetSide) }

func (s *Set) sheetPicture(i int) (*raster.Image, error) {
	m, err := s.Picture(i)
	if err != nil || s.Size <= mostSheetSide {
		return m, err
	}
	return raster.Resize(m, mostSheetSide, mostSheetSide, raster.Bicubic)
}

// blank is a white picture, in the place of one that is not there.
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
