package imagefile

// plane is one component of an image, of its own size in samples.
type plane struct {
	pix                   []uint8
	stride, height, width int
}

func (p plane) row(y int) []uint8 { return p.pix[y*p.stride:][:p.width] }

// upsample writes row y of a component, brought to full size, to dst, which has room for the
// component's width times h. The component has 1/h of the image's width and 1/v of its height. This
// is libjpeg's "fancy" upsampling: a triangle filter where a side is halved, with edges repeated,
// and repeated samples for all other factors.
func (p plane) upsample(dst []uint8, y, h, v int) {
	near := p.row(y / v)
	switch {
	case h == 1 && v == 1:
		copy(dst, near)
	case h == 2 && v == 1 && p.width > 2:
		upsampleRow(dst, near)
	case h == 1 && v == 2:
		far, bias := p.row(p.neighbour(y)), 1+y&1
		for x, a := range near {
			dst[x] = uint8((3*int(a) + int(far[x]) + bias) >> 2)
		}
	case h == 2 && v == 2 && p.width > 2:
		upsampleRows(dst, near, p.row(p.neighbour(y)))
	default:
		for x := range dst {
			dst[x] = near[x/h]
		}
	}
}

// neighbour returns the row next to row y/2 on the side of row y of the full image; at an edge, row
// y/2 itself.
func (p plane) neighbour(y int) int {
	if y%2 == 0 {
		return max(y/2-1, 0)
	}
	return min(y/2+1, p.height-1)
}

// upsampleRow doubles the width of a row of at least 2 samples.
func upsampleRow(dst, row []uint8) {
	last := len(row) - 1
	dst[0] = row[0]
	dst[2*last+1] = row[last]
	for x := range last {
		a, b := int(row[x]), int(row[x+1])
		dst[2*x+1] = uint8((3*a + b + 2) >> 2)
		dst[2*x+2] = uint8((3*b + a + 1) >> 2)
	}
}

// upsampleRows doubles the width of the row that lies between near and far, nearer to the first.
func upsampleRows(dst, near, far []uint8) {
	far = far[:len(near)]
	last := len(near) - 1
	a := 3*int(near[0]) + int(far[0])
	dst[0] = uint8((4*a + 8) >> 4)
	for x := range last {
		b := 3*int(near[x+1]) + int(far[x+1])
		to := dst[2*x+1:][:2]
		to[0] = uint8((3*a + b + 7) >> 4)
		to[1] = uint8((3*b + a + 8) >> 4)
		a = b
	}
	dst[2*last+1] = uint8((4*a + 7) >> 4)
}

// toRGB writes a row of 3 bytes a pixel, of luma and full-size chroma as JFIF has them, in
// libjpeg's integers.
func toRGB(dst, luma, cb, cr []uint8) {
	const half = 1 << 15
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, l := range luma {
		y, b, r := int32(l), int32(cb[x])-128, int32(cr[x])-128
		to := dst[3*x:][:3]
		to[0] = clip(y + (91881*r+half)>>16)
		to[1] = clip(y + (-22554*b-46802*r+half)>>16)
		to[2] = clip(y + (116130*b+half)>>16)
	}
}

// clip brings v to [0,255].
func clip(v int32) uint8 {
	if uint32(v) <= 255 {
		return uint8(v)
	}
	return uint8(^v >> 31) // 0 below, 255 above
}
