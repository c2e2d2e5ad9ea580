package imagefile

// swapsSides reports whether an orientation, numbered as in EXIF, makes a row a column.
func swapsSides(orientation int64) bool { return orientation >= 5 && orientation <= 8 }

// oriented turns and mirrors an image that is stored in an orientation, numbered as in EXIF: 1 is
// upright, as is every other number than 2 to 8.
func (m *Image) oriented(orientation int64) *Image {
	if orientation < 2 || orientation > 8 {
		return m
	}
	out := newImage(m.Height, m.Width, m.Channels)
	if swapsSides(orientation) {
		out = newImage(m.Width, m.Height, m.Channels)
	}
	bottom, right := m.Height-1, m.Width-1
	for y := range out.Height {
		row := out.row(y)
		for x := range out.Width {
			fromY, fromX := y, x
			switch orientation {
			case 2:
				fromX = right - x
			case 3:
				fromY, fromX = bottom-y, right-x
			case 4:
				fromY = bottom - y
			case 5:
				fromY, fromX = x, y
			case 6:
				fromY, fromX = bottom-x, y
			case 7:
				fromY, fromX = bottom-x, right-y
			case 8:
				fromY, fromX = x, right-y
			}
			copy(row[x*m.Channels:(x+1)*m.Channels], m.row(fromY)[fromX*m.Channels:])
		}
	}
	return out
}
