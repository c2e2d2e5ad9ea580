package imagefile

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// pngOf is a PNG file of black pixels of one byte, of which rows are there.
func pngOf(width, height uint32, rows int) []byte {
	chunk := func(file []byte, kind string, data []byte) []byte {
		body := append([]byte(kind), data...)
		file = append(binary.BigEndian.AppendUint32(file, uint32(len(data))), body...)
		return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(body))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	var pixels bytes.Buffer
	z := zlib.NewWriter(&pixels)
	for range rows {
		z.Write(make([]byte, width+1))
	}
	z.Close()
	file := chunk([]byte(pngMagic), "IHDR", append(head, 8, 0, 0, 0, 0))
	return chunk(chunk(file, "IDAT", pixels.Bytes()), "IEND", nil)
}

// scansOf is a progressive JPEG of one grey, of side x side pixels, with the given number of scans
// that change nothing.
func scansOf(side, scans int) []byte {
	file := append([]byte{0xff, jpegSOI, 0xff, 0xdb, 0, 67, 0}, bytes.Repeat([]byte{1}, 64)...)
	file = append(file, 0xff, jpegSOF2, 0, 11, 8, byte(side>>8), byte(side), byte(side>>8), byte(side), 1, 1, 0x11, 0)
	for _, table := range [][2]byte{{0x00, 0}, {0x10, 0xe0}} { // one code: no difference; a run of blocks without values
		file = append(append(file, 0xff, jpegDHT, 0, 20, table[0], 1), make([]byte, 15)...)
		file = append(file, table[1])
	}
	blocks := ceilDiv(side, 8) * ceilDiv(side, 8)
	file = append(append(file, 0xff, jpegSOS, 0, 8, 1, 1, 0, 0, 0, 1), make([]byte, ceilDiv(blocks, 8))...)
	for range scans {
		file = append(append(file, 0xff, jpegSOS, 0, 8, 1, 1, 0, 1, 63, 0), make([]byte, blocks/8192+1)...)
	}
	return append(file, 0xff, jpegEOI)
}

// tiffOf is a little-endian TIFF file of the tags and numbers given, without anything else.
func tiffOf(tags ...uint32) []byte {
	file := append([]byte("II*\x00\x08\x00\x00\x00"), byte(len(tags)/2), 0)
	for i := 0; i < len(tags); i += 2 {
		file = binary.LittleEndian.AppendUint16(file, uint16(tags[i]))
		file = append(file, 4, 0, 1, 0, 0, 0)
		file = binary.LittleEndian.AppendUint32(file, tags[i+1])
	}
	return append(file, 0, 0, 0, 0)
}

// bmpOf is a BMP file of the pixels given, with a palette of greys: 0, 1, 2, ... in 8 bits, 0, 17,
// 34, ... in 4.
func bmpOf(width, height int32, depth uint16, compression uint32, pixels []byte) []byte {
	var palette []byte
	if depth <= 8 {
		for i := range 1 << depth {
			v := byte(i * 255 / (1<<depth - 1))
			palette = append(palette, v, v, v, 0)
		}
	}
	file := append([]byte("BM"), make([]byte, 8)...)
	file = binary.LittleEndian.AppendUint32(file, uint32(14+40+len(palette)))
	file = binary.LittleEndian.AppendUint32(file, 40)
	file = binary.LittleEndian.AppendUint32(file, uint32(width))
	file = binary.LittleEndian.AppendUint32(file, uint32(height))
	file = binary.LittleEndian.AppendUint16(append(file, 1, 0), depth)
	file = binary.LittleEndian.AppendUint32(file, compression)
	return slices.Concat(file, make([]byte, 20), palette, pixels)
}

// hostile are files that decoding must refuse, and what the error says.
var hostile = []struct {
	name string
	file []byte
	want string
}{
	{"nothing", nil, ErrFormat.Error()},
	{"text", []byte("not an image"), ErrFormat.Error()},
	{"PNG, 10^10 pixels", pngOf(100_000, 100_000, 0), "want 1 to 100000000 in all"},
	{"PNG, whole, more than 10^8 pixels", pngOf(11_000, 11_000, 11_000), "want 1 to 100000000 in all"},
	{"PNG, whole, large for its file", pngOf(6000, 6000, 6000), "in a file of"},
	{"PNG, no rows", pngOf(8, 8, 0), "decode image: png: invalid format"},
	{"PNG, no header", []byte(pngMagic + "abcdefghijklmnopqrstuvwxyz"), "PNG without a header"},
	{"JPEG, scans", scansOf(2000, 200), "JPEG of 201 scans, which visit 12562500 blocks"},
	{"JPEG, large for its file", scansOf(9600, 1), "decoding it takes"},
	{"JPEG, nothing", []byte("\xff\xd8\xff\xd9"), "JPEG without a frame's header"},
	{"JPEG, 12 bits", []byte("\xff\xd8\xff\xc1\x00\x0b\x0c\x00\x01\x00\x01\x01\x01\x11\x00"), "12 bits a sample"},
	{
		"JPEG, two components",
		[]byte("\xff\xd8\xff\xc0\x00\x0e\x08\x00\x01\x00\x01\x02\x01\x11\x00\x02\x11\x00"),
		"2 components",
	},
	{"JPEG, lossless", []byte("\xff\xd8\xff\xc3\x00\x02"), "lossless"},
	{"JPEG, hierarchical", []byte("\xff\xd8\xff\xc5\x00\x02"), "hierarchical"},
	{
		"GIF, large screen",
		[]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00"),
		"65535x65535",
	},
	{"GIF, no image", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), "GIF without an image"},
	{"WebP, no image", []byte("RIFF\x04\x00\x00\x00WEBP"), "WebP without an image"},
	{
		"WebP, large canvas",
		[]byte("RIFF\x40\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff" +
			"ANMF\x20\x00\x00\x00" + strings.Repeat("\x00", 16) + "VP8L\x05\x00\x00\x00\x2f\x00\x00\x00\x00\x00"),
		"16777216x16777216",
	},
	{
		"WebP, frame outside of the canvas",
		[]byte("RIFF\x40\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
			"ANMF\x20\x00\x00\x00\x01" + strings.Repeat("\x00", 15) + "VP8L\x05\x00\x00\x00\x2f\x00\x00\x00\x00\x00"),
		"of a canvas of 1x1",
	},
	{"BMP, large", bmpOf(1<<31-1, -1<<31, 24, 0, nil), "image of 2147483648x2147483647 pixels"},
	{"BMP, negative width", bmpOf(-8, 8, 24, 0, nil), "image of 8x-8 pixels"},
	{"BMP, no pixels", bmpOf(8, 8, 24, 0, nil), "unexpected EOF"},
	{"BMP, 2 bits", bmpOf(8, 8, 2, 0, nil), "BMP of 2 bits"},
	{"BMP, JPEG within", bmpOf(8, 8, 24, bmpJPEG, nil), "BMP of 24 bits, compression 4"},
	{"BMP, runs that end early", bmpOf(4, 2, 8, bmpRLE8, []byte{3, 1, 0, 0, 4}), "unexpected EOF"},
	{"TIFF, large", tiffOf(tiffWidth, 1<<31, tiffHeight, 1<<31), "TIFF of 2147483648x2147483648 pixels"},
	{
		"TIFF, large tiles",
		tiffOf(tiffWidth, 1, tiffHeight, 1<<24, tiffTileWidth, 1024, tiffTileHeight, 8),
		"blocks of 8x1024 pixels",
	},
	{"TIFF, one tile", tiffOf(tiffWidth, 1, tiffHeight, 1, tiffTileWidth, 1<<14, tiffTileHeight, 1<<14), "in a file of"},
	{"TIFF, no size", tiffOf(tiffBits, 8), "TIFF without a size"},
	{"PNM, large", []byte("P6 100000 100000 255\n"), "100000x100000"},
	{"PNM, large for its file", []byte("P4 9999 9999\n"), "in a file of"},
	{"PNM, no number", []byte("P5 x"), `PNM with 'x' where a number should be`},
	{"PNM, sample too large", []byte("P2 1 1 9\n10\n"), "PNM sample 10: want at most 9"},
	{"PNM, cut", []byte("P5 2 2 255\nabc"), "unexpected EOF"},
}

// TestHostile checks that files made to take much are refused, with the reason, before they do.
func TestHostile(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			if _, err := checkCost(t, c.file); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestCut checks that a file that ends too early is an error, wherever it ends, except in the last
// bytes, which some formats do not need.
func TestCut(t *testing.T) {
	for name, file := range testFiles(t) {
		if strings.Contains(name, "animated") {
			continue // the first frame may be whole
		}
		t.Run(name, func(t *testing.T) {
			for n := 0; n < len(file)*3/4; n += 1 + len(file)/50 {
				if _, err := Decode(t.Context(), file[:n]); err == nil {
					t.Errorf("%d of %d bytes are decoded", n, len(file))
				}
			}
		})
	}
}

// TestManyScans checks that a file of as many scans as encoders make is decoded.
func TestManyScans(t *testing.T) {
	m, err := checkCost(t, scansOf(1000, 40))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range m.Pix {
		if v != 128 {
			t.Fatalf("pixel %d, want 128", v)
		}
	}
}

// TestEnds checks that decoding ends with its context, in every format.
func TestEnds(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	end()
	for name, file := range testFiles(t) {
		if _, is := refused[name]; is {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if _, err := Decode(ctx, file); !errors.Is(err, context.Canceled) {
				t.Errorf("Decode: error %v", err)
			}
			if _, err := ReadFile(ctx, filepath.Join("testdata/files", name)); !errors.Is(err, context.Canceled) {
				t.Errorf("ReadFile: error %v", err)
			}
		})
	}
}

// TestReadFileRefuses checks what is no file: it is not opened.
func TestReadFileRefuses(t *testing.T) {
	for path, want := range map[string]error{
		t.TempDir():                        regularfile.ErrNotRegular,
		"/dev/null":                        regularfile.ErrNotRegular,
		filepath.Join(t.TempDir(), "none"): fs.ErrNotExist,
	} {
		t.Run(path, func(t *testing.T) {
			if _, err := ReadFile(t.Context(), path); !errors.Is(err, want) {
				t.Errorf("ReadFile: error %v, want %v", err, want)
			}
			if _, err := ReadHeader(path); !errors.Is(err, want) {
				t.Errorf("ReadHeader: error %v, want %v", err, want)
			}
		})
	}
}

// TestTIFFTags checks that the numbers that bound the work are those that the decoder reads: with
// several, of which only the first counts, they are elsewhere in the file.
func TestTIFFTags(t *testing.T) {
	file := tiffOf(tiffWidth, 1<<24|2, tiffHeight, 9)
	file[10+2], file[10+4] = 1, 5   // five bytes, from offset 2
	file[10+8], file[10+8+3] = 2, 0 // where the mark of the format, 42, is
	tags, err := readTIFFTags(bytes.NewReader(file))
	if err != nil || tags[tiffWidth] != 42 || tags[tiffHeight] != 9 {
		t.Errorf("%v, error %v; want width 42, height 9", tags, err)
	}
}
