package sheet_test

import (
	"bytes"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
)

// flat is an image of one value.
func flat(height, width, channels int, v uint8) *raster.Image {
	return &raster.Image{
		Height:   height,
		Width:    width,
		Channels: channels,
		Pix:      bytes.Repeat([]byte{v}, height*width*channels),
	}
}

func TestSheet(t *testing.T) {
	got, err := sheet.Layout{Columns: 2, Scale: 2, Gap: 1}.Render([]*raster.Image{
		{Height: 1, Width: 2, Channels: 1, Pix: []byte{1, 2}}, flat(1, 2, 1, 3), flat(1, 2, 1, 4),
	})
	const w = 255
	want := &raster.Image{Height: 7, Width: 11, Channels: 1, Pix: []byte{
		w, w, w, w, w, w, w, w, w, w, w,
		w, 1, 1, 2, 2, w, 3, 3, 3, 3, w,
		w, 1, 1, 2, 2, w, 3, 3, 3, 3, w,
		w, w, w, w, w, w, w, w, w, w, w,
		w, 4, 4, 4, 4, w, w, w, w, w, w,
		w, 4, 4, 4, 4, w, w, w, w, w, w,
		w, w, w, w, w, w, w, w, w, w, w,
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestSheetScale(t *testing.T) {
	for side, want := range map[int]int{1: 4, 28: 4, 32: 4, 56: 2, 64: 2, 112: 1, 256: 1} {
		got, err := sheet.Layout{Columns: 1}.Render([]*raster.Image{flat(side, side, 3, 0)})
		if err != nil || got.Width != side*want+4 || got.Height != side*want+4 {
			t.Errorf("side %d: sheet of %dx%d, %v; want scale %d and a gap of 2",
				side, got.Height, got.Width, err, want)
		}
	}
}

// TestSheetCaptions checks that captions leave ink where they belong and nowhere else, however long
// they are.
func TestSheetCaptions(t *testing.T) {
	images := []*raster.Image{flat(28, 28, 3, 255), flat(28, 28, 3, 255), flat(28, 28, 3, 255)}
	long := "a caption far too long for its place, such as the one on the right of this one and beyond"
	layout := sheet.Layout{Columns: 2, Rows: []string{"ankle boot", "", "beyond"}, Heads: []string{long}}
	got, err := layout.Render(images)
	if err != nil {
		t.Fatal(err)
	}
	const tile, gap = 4 * 28, 2
	left, top := got.Width-2*tile-3*gap, got.Height-2*tile-3*gap
	ink := func(y0, y1, x0, x1 int) (n int) {
		for y := y0; y < y1; y++ {
			for _, v := range got.Pix[(y*got.Width+x0)*3 : (y*got.Width+x1)*3] {
				if v < 128 {
					n++
				}
			}
		}
		return n
	}
	row, head := ink(top+gap, top+gap+tile, 0, left), ink(0, top, left+gap, left+gap+tile)
	if row == 0 || head == 0 {
		t.Errorf("%d dark bytes of the row's caption, %d of the column's", row, head)
	}
	if all := ink(0, got.Height, 0, got.Width); all != row+head {
		t.Errorf("%d dark bytes outside the captions' places", all-row-head)
	}
}

// TestSheetNames checks that the caption of an image stands right above it.
func TestSheetNames(t *testing.T) {
	images := []*raster.Image{flat(28, 28, 1, 255), flat(28, 28, 1, 255), flat(28, 28, 1, 255)}
	got, err := sheet.Layout{Columns: 2, Names: []string{"", "", "bag"}}.Render(images)
	if err != nil {
		t.Fatal(err)
	}
	const tile, gap = 4 * 28, 2
	name := (got.Height - 2*tile - 3*gap) / 2
	first, last := got.Height, 0
	for i, v := range got.Pix {
		if v < 128 {
			first, last = min(first, i/got.Width), max(last, i/got.Width)
			if i%got.Width > gap+tile {
				t.Fatalf("ink at column %d, above another image", i%got.Width)
			}
		}
	}
	if low := 2*gap + name + tile; name < 10 || first < low || last >= low+name {
		t.Errorf("ink in rows %d to %d, want it within %d to %d", first, last, low, low+name)
	}
}

// TestSheetLongRowCaption checks that a row's caption of several lines and a long one, such as a
// policy's, are not cut: the widest line decides how wide the sheet is, and more words add ink.
func TestSheetLongRowCaption(t *testing.T) {
	ink := func(caption string) (dark, width int) {
		m, err := sheet.Layout{Columns: 1, Rows: []string{caption}}.Render([]*raster.Image{flat(28, 28, 1, 255)})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range m.Pix {
			if v < 128 {
				dark++
			}
		}
		return dark, m.Width
	}
	long := "tokencache:ratio=0.5,selection=per-block,importance=random,k=2,warmup=1"
	one, width := ink(long)
	two, same := ink(long + "\n2.54x")
	three, _ := ink(long + "\n2.54x\n52.6 dB")
	if !(one < two && two < three) || width != same || width > 112+3*2+2*6+180 {
		t.Errorf("dark pixels %d, %d, %d; width %d and %d", one, two, three, width, same)
	}
}

func TestSheetRefuses(t *testing.T) {
	m := flat(2, 2, 1, 0)
	for _, test := range []struct {
		name   string
		layout sheet.Layout
		images []*raster.Image
	}{
		{"no images", sheet.Layout{Columns: 1}, nil},
		{"no columns", sheet.Layout{}, []*raster.Image{m}},
		{"negative scale", sheet.Layout{Columns: 1, Scale: -1}, []*raster.Image{m}},
		{"huge gap", sheet.Layout{Columns: 1, Gap: math.MaxInt}, []*raster.Image{m}},
		{"two widths", sheet.Layout{Columns: 2}, []*raster.Image{m, flat(2, 3, 1, 0)}},
		{"grey and colour", sheet.Layout{Columns: 2}, []*raster.Image{m, flat(2, 2, 3, 0)}},
		{"too large", sheet.Layout{Columns: 1, Scale: 1024}, []*raster.Image{flat(1024, 1024, 1, 0)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.layout.Render(test.images); err == nil {
				t.Errorf("%+v of %d images: no error", test.layout, len(test.images))
			}
		})
	}
}

// TestLibraryLinksNoFonts checks that a program which only generates images links neither fonts nor
// a text rasteriser.
func TestLibraryLinksNoFonts(t *testing.T) {
	const library = "github.com/tokencache/tokencache"
	out, err := exec.Command("go", "list", "-deps", library).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, path := range strings.Fields(string(out)) {
		if strings.HasPrefix(path, "golang.org/x/image/") || strings.HasPrefix(path, "golang.org/x/text/") {
			t.Errorf("%s depends on %s", library, path)
		}
	}
}
