package report

import (
	"image"
	"image/color"
	"image/gif"
	"io"
	"slices"
)

// encodeGIF writes an animation that repeats for ever; delays are in hundredths of a second. Every
// page has its own palette.
func encodeGIF(w io.Writer, pages []image.Image, delays []int) error {
	g := &gif.GIF{Delay: delays}
	for _, p := range pages {
		g.Image = append(g.Image, quantise(p))
	}
	return gif.EncodeAll(w, g)
}

const (
	colorBits  = 6 // of each channel, by which colours are told apart when they are chosen
	colorCount = 1 << (3 * colorBits)
	maxColors  = 256
)

// bin is a colour of colorBits bits a channel, with its pixels.
type bin struct {
	channel [3]uint8
	pixels  int
	sum     [3]int // of the pixels' 8-bit values
	key     int
}

// quantise returns an image of at most 256 colours by median cut: again and again the box of
// colours with the largest product of pixels and longest side is cut at the median of that side.
func quantise(m image.Image) *image.Paletted {
	bounds := m.Bounds()
	index := make([]int32, colorCount) // of each colour: one more than its place among the bins
	var bins []bin
	keys := make([]int, 0, bounds.Dx()*bounds.Dy())
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			r, g, b, _ := m.At(x, y).RGBA()
			v := [3]int{int(r >> 8), int(g >> 8), int(b >> 8)}
			key := 0
			for _, c := range v {
				key = key<<colorBits | c>>(8-colorBits)
			}
			keys = append(keys, key)
			if index[key] == 0 {
				channel := [3]uint8{uint8(v[0]), uint8(v[1]), uint8(v[2])}
				bins = append(bins, bin{key: key, channel: channel})
				index[key] = int32(len(bins))
			}
			at := &bins[index[key]-1]
			at.pixels++
			for i := range v {
				at.sum[i] += v[i]
			}
		}
	}
	out := image.NewPaletted(bounds, nil)
	place := make([]uint8, colorCount)
	for _, box := range cut(bins) {
		var sum [3]int
		pixels := 0
		for _, b := range box {
			pixels += b.pixels
			for i := range sum {
				sum[i] += b.sum[i]
			}
			place[b.key] = uint8(len(out.Palette))
		}
		mean := func(i int) uint8 { return uint8((sum[i] + pixels/2) / pixels) }
		out.Palette = append(out.Palette, color.RGBA{R: mean(0), G: mean(1), B: mean(2), A: 0xff})
	}
	for i, key := range keys {
		out.Pix[i] = place[key]
	}
	return out
}

// cut divides bins among at most 256 boxes.
func cut(bins []bin) [][]bin {
	boxes := [][]bin{bins}
	for len(boxes) < maxColors {
		best, axis, highest := -1, 0, 0
		for i, box := range boxes {
			if a, length := longest(box); length > 0 {
				pixels := 0
				for _, b := range box {
					pixels += b.pixels
				}
				if score := min(pixels, 2000) * length; score > highest {
					best, axis, highest = i, a, score
				}
			}
		}
		if best < 0 {
			break
		}
		box := boxes[best]
		slices.SortFunc(box, func(a, b bin) int { return int(a.channel[axis]) - int(b.channel[axis]) })
		total, half := 0, 0
		for _, b := range box {
			total += b.pixels
		}
		at := 0
		for at < len(box)-1 && (at == 0 || half+box[at].pixels <= total/2) {
			half += box[at].pixels
			at++
		}
		boxes[best] = box[:at]
		boxes = append(boxes, box[at:])
	}
	return boxes
}

// longest returns the channel in which a box's colours differ most, and by how much.
func longest(box []bin) (axis, length int) {
	for i := range 3 {
		low, high := uint8(255), uint8(0)
		for _, b := range box {
			low, high = min(low, b.channel[i]), max(high, b.channel[i])
		}
		if l := int(high) - int(low); len(box) > 1 && l > length {
			axis, length = i, l
		}
	}
	return axis, length
}
