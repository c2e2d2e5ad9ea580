package imagefile

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// greyTIFF is an uncompressed grey TIFF of 3 columns and 2 rows, 0 to 5, with further tags of one
// short number each, which are above 279.
func greyTIFF(tags ...uint16) []byte {
	entries := [][2]uint32{
		{tiffWidth, 3},
		{tiffHeight, 2},
		{tiffBits, 8},
		{tiffCompression, 1},
		{tiffPhotometric, tiffBlackIsZero},
		{273, 8}, // offset of the strip
		{277, 1}, // sample for a pixel
		{tiffRowsPerStrip, 2},
		{279, 6}, // bytes of the strip
	}
	for i := 0; i < len(tags); i += 2 {
		tag, value := uint32(tags[i]), uint32(tags[i+1])
		known := func(e [2]uint32) bool { return e[0] == tag }
		if at := slices.IndexFunc(entries, known); at >= 0 {
			entries[at][1] = value
			continue
		}
		entries = append(entries, [2]uint32{tag, value})
	}
	slices.SortFunc(entries, func(a, b [2]uint32) int { return int(a[0]) - int(b[0]) })
	b := []byte("II*\x00\x0e\x00\x00\x00\x00\x01\x02\x03\x04\x05")
	b = binary.LittleEndian.AppendUint16(b, uint16(len(entries)))
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, 3)
		b = binary.LittleEndian.AppendUint32(b, 1)
		b = binary.LittleEndian.AppendUint32(b, e[1])
	}
	return append(b, 0, 0, 0, 0)
}

// TestTIFFOrientation checks that a TIFF is turned as Pillow turns it, which turns no other format,
// and that the header has the sides of the turned image.
func TestTIFFOrientation(t *testing.T) {
	for orientation, want := range [][]uint8{
		0: {0, 1, 2, 3, 4, 5}, // no orientation that there is
		1: {0, 1, 2, 3, 4, 5},
		2: {2, 1, 0, 5, 4, 3},
		3: {5, 4, 3, 2, 1, 0},
		4: {3, 4, 5, 0, 1, 2},
		5: {0, 3, 1, 4, 2, 5},
		6: {3, 0, 4, 1, 5, 2},
		7: {5, 2, 4, 1, 3, 0},
		8: {2, 5, 1, 4, 0, 3},
		9: {0, 1, 2, 3, 4, 5},
	} {
		file := greyTIFF(tiffOrientation, uint16(orientation))
		m, err := Decode(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		height, width := 2, 3
		if orientation >= 5 && orientation <= 8 {
			height, width = 3, 2
		}
		if m.Height != height || m.Width != width || !slices.Equal(m.Pix, want) {
			t.Errorf("orientation %d: %dx%d %v, want %dx%d %v", orientation, m.Height, m.Width, m.Pix, height, width, want)
		}
		h, err := tiffHeader(bytes.NewReader(file), int64(len(file)))
		if err != nil || h.Height != height || h.Width != width {
			t.Errorf("orientation %d: header %+v, error %v; want %dx%d", orientation, h, err, height, width)
		}
	}
}

// TestFax checks that faxes are black on white or white on black as their photometric interpretation
// says: the pixels are those that Pillow wrote and reads, of which every third is white.
func TestFax(t *testing.T) {
	const directory = "0900" +
		"000103000100000008000000" + "010103000100000003000000" + "020103000100000001000000" +
		"03010300010000000%c000000" + "06010300010000000%c000000" + "110104000100000008000000" +
		"160103000100000003000000" + "1701040001000000%c%c000000" + "1c0103000100000001000000" + "00000000"
	for _, c := range []struct {
		name, file string
	}{
		{"Group 4, black is zero", "49492a001600000026a8ba09584c2761309800800800" + tags(directory, "410d")},
		{"Group 4, white is zero", "49492a001600000023e47d5041309ec2613001001000" + tags(directory, "400d")},
		{"Group 3, black is zero", "49492a0016000000001354e9d0e0023a74e8005d3a70" + tags(directory, "310e")},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, err := hex.DecodeString(c.file)
			if err != nil {
				t.Fatal(err)
			}
			m, err := Decode(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range m.Pix {
				want := uint8(0)
				if i%3 == 0 {
					want = 255
				}
				if v != want {
					t.Fatalf("%v: pixel %d is %d, want %d", m.Pix, i, v, want)
				}
			}
		})
	}
}

// tags replaces each %c of a text by one of the characters.
func tags(text, characters string) string {
	for _, c := range characters {
		text = strings.Replace(text, "%c", string(c), 1)
	}
	return text
}

// TestTIFFRefused checks that forms that are not read are named.
func TestTIFFRefused(t *testing.T) {
	for want, tag := range map[string][]uint16{
		"TIFF of CMYK":                          {tiffPhotometric, 5, tiffSamples, 4},
		"TIFF of YCbCr":                         {tiffPhotometric, 6, tiffSamples, 3},
		"TIFF of photometric interpretation 77": {tiffPhotometric, 77},
		"TIFF of 2 samples a pixel, of grey":    {tiffSamples, 2, tiffExtraSamples, 2},
		"TIFF of 2 samples a pixel, of RGB":     {tiffPhotometric, tiffRGB, tiffSamples, 2},
		"a fourth sample that is not alpha":     {tiffPhotometric, tiffRGB, tiffSamples, 4},
		"TIFF of 4 bits a sample":               {tiffBits, 4},
		"TIFF of signed numbers":                {tiffSampleFormat, 2},
		"TIFF of numbers that are not whole":    {tiffSampleFormat, 3, tiffBits, 32},
		"TIFF with JPEG compression":            {tiffCompression, 7},
		"TIFF with LZMA compression":            {tiffCompression, 34925},
		"TIFF with Zstandard compression":       {tiffCompression, 50000},
		"TIFF with a plane for each channel":    {tiffPlanes, tiffSeparatePlanes},
		"TIFF with CCITT RLE compression":       {tiffCompression, 2},
	} {
		file := greyTIFF(tag...)
		if _, err := tiffHeader(bytes.NewReader(file), int64(len(file))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("tags %d: error %v, want %q of the header alone", tag, err, want)
		}
	}
	for _, start := range []string{"II+\x00\x08\x00\x00\x00", "MM\x00+\x00\x08\x00\x00"} {
		_, err := Decode(t.Context(), []byte(start+"\x10\x00\x00\x00\x00\x00\x00\x00"))
		if err == nil || !strings.Contains(err.Error(), "BigTIFF, which is not supported") {
			t.Errorf("BigTIFF: error %v", err)
		}
	}
}
