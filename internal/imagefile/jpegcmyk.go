package imagefile

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"slices"
)

// adobeSegment is an APP14 segment of Adobe, which says that the components are not transformed.
var adobeSegment = []byte{0xff, jpegAPP14, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0}

// decodeCMYK decodes a file of four components: CMYK, or YCCK if Adobe's segment says so. Both are
// stored inverted. The standard library converts YCCK with chroma that is not filtered, so it is
// told that the file is CMYK, which it returns as stored, and a missing segment is put in.
func decodeCMYK(ctx context.Context, file []byte, f *jpegFrame, s jpegSurvey) (*Image, error) {
	transformed := s.adobe > 0 && file[s.adobe] != 0
	if s.adobe > 0 {
		file = slices.Clone(file)
		file[s.adobe] = 0
	} else {
		file = slices.Insert(slices.Clone(file), 2, adobeSegment...)
	}
	m, err := jpeg.Decode(&contextReader{ctx, bytes.NewReader(file)})
	if err != nil {
		return nil, s.explain(f, err)
	}
	inks, ok := m.(*image.CMYK)
	if !ok {
		return nil, fmt.Errorf("JPEG of 4 components gives pixels of kind %T", m)
	}
	out := newImage(f.height, f.width, 3)
	factor := f.components[0].h // both ways, of the second and third component
	second, third := inkPlane(inks, 1, factor), inkPlane(inks, 2, factor)
	var rows [3][]uint8
	for c := range rows {
		rows[c] = make([]uint8, factor*second.width)
	}
	for y := range f.height {
		pix := inks.Pix[y*inks.Stride:][:4*f.width]
		for x := range f.width {
			rows[0][x] = 255 - pix[4*x]
		}
		second.upsample(rows[1], y, factor, factor)
		third.upsample(rows[2], y, factor, factor)
		to := out.row(y)
		if transformed {
			toRGB(to, rows[0][:f.width], rows[1], rows[2]) // what is red is cyan, and so on
		}
		for x := range f.width {
			paper := 255 - int(pix[4*x+3])
			for c := range rows {
				ink := int(to[3*x+c])
				if !transformed {
					ink = 255 - int(rows[c][x])
				}
				to[3*x+c] = uint8(max(paper-div255(ink*paper), 0))
			}
		}
	}
	return out, nil
}

// inkPlane takes a component as stored, not inverted, out of an image in which every sample is
// repeated factor times.
func inkPlane(m *image.CMYK, component, factor int) plane {
	p := plane{height: ceilDiv(m.Rect.Dy(), factor), width: ceilDiv(m.Rect.Dx(), factor)}
	p.stride = p.width
	p.pix = make([]uint8, p.height*p.width)
	for y := range p.height {
		row, from := p.row(y), m.Pix[factor*y*m.Stride+component:]
		for x := range row {
			row[x] = 255 - from[4*factor*x]
		}
	}
	return p
}

// div255 is v/255, rounded, for v up to 255*255.
func div255(v int) int {
	v += 128
	return (v + v>>8) >> 8
}
