package imagefile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/image/tiff"
)

// Tags of a TIFF file that say how much decoding it takes, and how its pixels are meant.
const (
	tiffWidth        = 256
	tiffHeight       = 257
	tiffBits         = 258
	tiffCompression  = 259
	tiffPhotometric  = 262
	tiffOrientation  = 274
	tiffSamples      = 277
	tiffRowsPerStrip = 278
	tiffPlanes       = 284
	tiffTileWidth    = 322
	tiffTileHeight   = 323
	tiffExtraSamples = 338
	tiffSampleFormat = 339
)

// bigTIFF is the second number of a TIFF whose offsets have 8 bytes.
const bigTIFF = 43

// Values of these tags.
const (
	tiffGroup3         = 3 // compression
	tiffGroup4         = 4
	tiffWhiteIsZero    = 0 // photometric interpretation
	tiffBlackIsZero    = 1
	tiffRGB            = 2
	tiffPalette        = 3
	tiffSeparatePlanes = 2
)

// tiffUnread names the compressions that are not read.
var tiffUnread = map[int64]string{
	2: "CCITT RLE", 6: "old JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard",
	50001: "WebP", 50002: "JPEG XL",
}

// tiffColours names the photometric interpretations that are not read.
var tiffColours = map[int64]string{
	4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a colour filter array",
	32844: "LogL", 32845: "LogLuv",
}

// tiffPixels reports pixels of a kind that the decoder does not read.
func tiffPixels(tags map[uint16]int64) error {
	kind := ""
	samples, bits, colours := tags[tiffSamples], max(tags[tiffBits], 1), tags[tiffPhotometric]
	switch {
	case colours > tiffPalette:
		kind = tiffColours[colours]
		if kind == "" {
			kind = fmt.Sprintf("photometric interpretation %d", colours)
		}
	case tags[tiffSampleFormat] == 2:
		kind = "signed numbers"
	case tags[tiffSampleFormat] > 2:
		kind = "numbers that are not whole"
	case bits != 1 && bits != 8 && bits != 16:
		kind = fmt.Sprintf("%d bits a sample", bits)
	case colours == tiffRGB && samples == 4 && tags[tiffExtraSamples] != 1 && tags[tiffExtraSamples] != 2:
		kind = "a fourth sample that is not alpha"
	case colours == tiffRGB && samples > 0 && samples != 3 && samples != 4, colours != tiffRGB && samples > 1:
		kind = fmt.Sprintf("%d samples a pixel, of %s", samples,
			map[int64]string{tiffWhiteIsZero: "grey", tiffBlackIsZero: "grey", tiffRGB: "RGB", tiffPalette: "a palette"}[colours])
	}
	if kind == "" {
		return nil
	}
	return fmt.Errorf("TIFF of %s, which is not supported: want grey, a palette, RGB or RGB with alpha", kind)
}

// tiffHeader reads the first directory, of which it needs single numbers alone.
func tiffHeader(r io.ReaderAt, size int64) (Header, error) {
	tags, err := readTIFFTags(r)
	if err != nil {
		return Header{}, err
	}
	height, width := tags[tiffHeight], tags[tiffWidth]
	if max(height, width) > maxPixels {
		return Header{}, fmt.Errorf("TIFF of %dx%d pixels (height x width)", height, width)
	}
	if name := tiffUnread[tags[tiffCompression]]; name != "" {
		return Header{}, fmt.Errorf("TIFF with %s compression, which is not supported", name)
	}
	if tags[tiffPlanes] == tiffSeparatePlanes {
		return Header{}, errors.New("TIFF with a plane for each channel, which is not supported")
	}
	if err := tiffPixels(tags); err != nil {
		return Header{}, err
	}
	h := Header{Height: int(height), Width: int(width)}
	blockHeight, blockWidth := min(tags[tiffRowsPerStrip], height), width
	if blockHeight == 0 {
		blockHeight = height
	}
	if tags[tiffTileWidth] > 0 {
		blockHeight, blockWidth = tags[tiffTileHeight], tags[tiffTileWidth]
	}
	if blockHeight == 0 || blockWidth == 0 || max(blockHeight, blockWidth) > 2*maxPixels {
		return Header{}, fmt.Errorf("TIFF of blocks of %dx%d pixels (height x width)", blockHeight, blockWidth)
	}
	// The pixels of all blocks, which tiles may fill up far beyond the image, are decoded: they
	// count as if they were kept. A compressed block may take 8 bytes a pixel, twice that as its
	// buffer grows. A block has two numbers.
	blocks := ((height + blockHeight - 1) / blockHeight) * ((width + blockWidth - 1) / blockWidth)
	if blocks > maxPixels || blocks*blockHeight > 4*maxPixels/blockWidth {
		return Header{}, fmt.Errorf("TIFF of %d blocks of %dx%d pixels (height x width)", blocks, blockHeight, blockWidth)
	}
	bytesPerPixel := int64(4)
	if tags[tiffBits] > 8 {
		bytesPerPixel = 8 + 3
	}
	h.memory = bytesPerPixel*max(height*width, blocks*blockHeight*blockWidth) + 32*blocks
	if tags[tiffCompression] > 1 {
		h.memory += 24 * blockHeight * blockWidth
	}
	if o := tags[tiffOrientation]; o > 1 && o <= 8 {
		h.memory += 3 * height * width
		if swapsSides(o) {
			h.Height, h.Width = h.Width, h.Height
		}
	}
	return h, nil
}

// readTIFFTags reads the numbers of the first directory. Of the bits and formats of several
// samples, the largest is taken; of other numbers, the first.
func readTIFFTags(r io.ReaderAt) (map[uint16]int64, error) {
	head, err := readAt(r, 0, 8)
	if err != nil {
		return nil, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[0] == 'M' {
		order = binary.BigEndian
	}
	if order.Uint16(head[2:]) == bigTIFF {
		return nil, errors.New("BigTIFF, which is not supported: want a TIFF of less than 4 GB")
	}
	at := int64(order.Uint32(head[4:]))
	count, err := readAt(r, at, 2)
	if err != nil {
		return nil, err
	}
	directory, err := readAt(r, at+2, 12*int(order.Uint16(count)))
	if err != nil {
		return nil, err
	}
	tags := map[uint16]int64{}
	for ; len(directory) > 0; directory = directory[12:] {
		tag, kind, n := order.Uint16(directory), order.Uint16(directory[2:]), order.Uint32(directory[4:])
		switch tag {
		case tiffWidth, tiffHeight, tiffBits, tiffCompression, tiffPhotometric, tiffOrientation, tiffRowsPerStrip,
			tiffPlanes, tiffTileWidth, tiffTileHeight, tiffSamples, tiffExtraSamples, tiffSampleFormat:
		default:
			continue
		}
		width := map[uint16]int{1: 1, 3: 2, 4: 4}[kind]
		if width == 0 || n == 0 {
			return nil, fmt.Errorf("TIFF tag %d of type %d, %d of it: want whole numbers", tag, kind, n)
		}
		used := 1
		if tag == tiffBits || tag == tiffSampleFormat {
			used = int(min(n, 16))
		}
		values := directory[8:12]
		if int64(n)*int64(width) > 4 { // the numbers are elsewhere
			if values, err = readAt(r, int64(order.Uint32(values)), used*width); err != nil {
				return nil, err
			}
		}
		for i := range used {
			tags[tag] = max(tags[tag], tiffNumber(order, values[i*width:], width))
		}
	}
	if tags[tiffWidth] == 0 || tags[tiffHeight] == 0 {
		return nil, errors.New("TIFF without a size")
	}
	return tags, nil
}

// tiffNumber reads a number of 1, 2 or 4 bytes.
func tiffNumber(order binary.ByteOrder, b []byte, width int) int64 {
	switch width {
	case 1:
		return int64(b[0])
	case 2:
		return int64(order.Uint16(b))
	}
	return int64(order.Uint32(b))
}

// decodeTIFF decodes the first image of a file and, as Pillow does for TIFF alone, turns it as its
// orientation says.
func decodeTIFF(ctx context.Context, file []byte) (*Image, error) {
	tags, err := readTIFFTags(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	decoded, err := tiff.Decode(&contextReader{ctx, bytes.NewReader(file)})
	if err != nil {
		return nil, err
	}
	m, err := fromStandard(decoded)
	if err != nil {
		return nil, err
	}
	// A white run of a fax is zeros, whatever these mean. The decoder always takes it for white.
	fax := tags[tiffCompression] == tiffGroup3 || tags[tiffCompression] == tiffGroup4
	if fax && tags[tiffPhotometric] == tiffBlackIsZero {
		for i := range m.Pix {
			m.Pix[i] = ^m.Pix[i]
		}
	}
	return m.oriented(tags[tiffOrientation]), nil
}
