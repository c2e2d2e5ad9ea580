package imagefile

import (
	"fmt"
	"image"
	"slices"
	"testing"
)

// TestForms checks the pixels of forms that testdata has no files of, worked out by hand.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		want []uint8 // of all channels
	}{
		{"P1", []byte("P1\n# comment\n3 2\n101\n0 1 # more\n0"), []uint8{0, 255, 0, 255, 0, 255}},
		{"P2", []byte("P2 2 1 9 0 9"), []uint8{0, 255}},
		{"P2 of 16 bits", []byte("P2 3 1 65535 255 256 65535\n"), []uint8{0, 1, 255}},
		{"P3 rounded", []byte("P3 1 1 100 50 33 100\n"), []uint8{128, 84, 255}},
		{"P4", []byte("P4 9 1\n\x80\x80"), []uint8{0, 255, 255, 255, 255, 255, 255, 255, 0}},
		{"P5 of 16 bits", []byte("P5 2 1 65535\n\x12\xff\xfe\x00"), []uint8{0x12, 0xfe}},
		{"P6 of 16 bits", []byte("P6 1 1 65535\n\x12\x80\xff\xff\x00\x00"), []uint8{0x12, 255, 0}},
		{"BMP of 1 bit", bmpOf(3, 2, 1, 0, []byte{0x40, 0, 0, 0, 0xa0, 0, 0, 0}), grey(255, 0, 255, 0, 255, 0)},
		{"BMP of 4 bits", bmpOf(3, 1, 4, 0, []byte{0x12, 0x3f, 0, 0}), grey(17, 34, 51)},
		{"BMP of 5-5-5", bmpOf(1, 1, 16, 0, []byte{0x41, 0x04, 0, 0}), []uint8{8, 16, 8}},
		{
			"BMP, runs and skips",
			bmpOf(4, 3, 8, bmpRLE8, []byte{2, 7, 0, 0, 0, 2, 1, 0, 1, 5, 0, 0, 0, 3, 1, 2, 3, 0, 0, 1}),
			grey(1, 2, 3, 0, 0, 5, 0, 0, 7, 7, 0, 0),
		},
		{
			"BMP, runs of 4 bits",
			bmpOf(5, 1, 4, bmpRLE4, []byte{2, 0x12, 0, 3, 0x34, 0x50, 0, 1}),
			grey(17, 34, 51, 68, 85),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Decode(t.Context(), c.file)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(m.Pix, c.want) {
				t.Errorf("%v, want %v", m.Pix, c.want)
			}
		})
	}
}

// grey repeats each value for red, green and blue.
func grey(values ...uint8) []uint8 {
	var out []uint8
	for _, v := range values {
		out = append(out, v, v, v)
	}
	return out
}

// TestUpsample checks the filters' sums and roundings on a component of 3 x 2 samples and on a
// narrow one.
func TestUpsample(t *testing.T) {
	wide := plane{[]uint8{10, 21, 40, 99, 50, 60, 70, 99}, 4, 2, 3}
	narrow := plane{[]uint8{10, 20, 30, 40}, 2, 2, 2}
	for _, c := range []struct {
		plane   plane
		y, h, v int
		want    []uint8
	}{
		{wide, 1, 1, 1, []uint8{50, 60, 70}},
		{wide, 0, 2, 1, []uint8{10, 13, 18, 26, 35, 40}},
		{wide, 0, 1, 2, []uint8{10, 21, 40}}, // at an edge the row itself is the other one
		{wide, 1, 1, 2, []uint8{20, 31, 48}},
		{wide, 2, 1, 2, []uint8{40, 50, 62}},
		{wide, 3, 1, 2, []uint8{50, 60, 70}},
		{wide, 0, 2, 2, []uint8{10, 13, 18, 26, 35, 40}},
		{wide, 1, 2, 2, []uint8{20, 23, 28, 35, 43, 47}},
		{wide, 3, 4, 2, []uint8{50, 50, 50, 50, 60, 60, 60, 60, 70, 70, 70, 70}},
		{narrow, 1, 2, 1, []uint8{30, 30, 40, 40}},
		{narrow, 1, 2, 2, []uint8{10, 10, 20, 20}},
		{narrow, 1, 1, 2, []uint8{15, 25}},
	} {
		t.Run(fmt.Sprintf("%dx%d row %d of width %d", c.h, c.v, c.y, c.plane.width), func(t *testing.T) {
			got := make([]uint8, c.h*c.plane.width)
			c.plane.upsample(got, c.y, c.h, c.v)
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestColours checks the conversion of JPEG's colours against the formulas of JFIF in real numbers.
func TestColours(t *testing.T) {
	for y := 0; y < 256; y += 5 {
		for cb := 0; cb < 256; cb += 3 {
			for cr := 0; cr < 256; cr += 3 {
				var got [3]uint8
				toRGB(got[:], []uint8{uint8(y)}, []uint8{uint8(cb)}, []uint8{uint8(cr)})
				b, r := float64(cb-128), float64(cr-128)
				for i, v := range []float64{1.402 * r, -0.344136*b - 0.714136*r, 1.772 * b} {
					want := min(max(float64(y)+v, 0), 255)
					if d := float64(got[i]) - want; d > 0.501 || d < -0.501 {
						t.Fatalf("Y %d, Cb %d, Cr %d: channel %d is %d, want %.3f", y, cb, cr, i, got[i], want)
					}
				}
			}
		}
	}
}

// TestFromStandard checks the kinds of image that decoders return for rare files, and that parts
// are cut out.
func TestFromStandard(t *testing.T) {
	straight := image.NewRGBA(image.Rect(0, 0, 1, 1))
	copy(straight.Pix, []uint8{50, 25, 0, 100}) // multiplied by alpha
	deep := image.NewRGBA64(image.Rect(0, 0, 1, 1))
	copy(deep.Pix, []uint8{0x40, 0, 0x20, 0, 0, 0, 0x80, 0})
	part := image.NewGray(image.Rect(0, 0, 3, 2))
	copy(part.Pix, []uint8{1, 2, 3, 4, 5, 6})
	for _, c := range []struct {
		name string
		m    image.Image
		want []uint8
	}{
		{"RGBA", straight, []uint8{127, 63, 0}},
		{"RGBA64", deep, []uint8{0x7f, 0x3f, 0}},
		{"part", part.SubImage(image.Rect(1, 0, 3, 2)), []uint8{2, 3, 5, 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := fromStandard(c.m)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(m.Pix, c.want) {
				t.Errorf("%v, want %v", m.Pix, c.want)
			}
		})
	}
}
