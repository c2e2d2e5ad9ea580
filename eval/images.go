package eval

import (
	"fmt"
	"image"
	"image/draw"

	"github.com/tokencache/tokencache/internal/raster"
)

// Images is a set of images to evaluate.
type Images struct {
	Count int
	// Labels are the classes that the images should show, -1 where there is none; nil if no image
	// has one.
	Labels []int32
	// Prompts are what the images should show, in words, "" where there is nothing; nil if no image
	// has one.
	Prompts []string
	// Image returns image i. A grey image, image.Gray, has one channel, any other three.
	Image func(i int) (image.Image, error)
	// Known is what a network has said of the images already; nil if nothing is known. An evaluation
	// by that network does not read them.
	Known *Predictions

	part *setPart // the images are part of a set, unless nil
}

// Spread returns up to count of the images, evenly spread, or all of them if count is 0.
func (s Images) Spread(count int) Images {
	if count <= 0 || count >= s.Count {
		return s
	}
	chosen := spread(s.Count, count)
	few := Images{Count: count, Image: func(i int) (image.Image, error) { return s.Image(chosen[i]) }}
	if s.Labels != nil {
		few.Labels = make([]int32, count)
		for i, at := range chosen {
			few.Labels[i] = s.Labels[at]
		}
	}
	if s.Prompts != nil {
		few.Prompts = make([]string, count)
		for i, at := range chosen {
			few.Prompts[i] = s.Prompts[at]
		}
	}
	return few
}

// spread returns count numbers below n, ascending and evenly spread, or all if count is 0 or above
// n. Their remainders differ too: if images cycle through the classes, no class is left out.
func spread(n, count int) []int {
	if count <= 0 || count > n {
		count = n
	}
	list := make([]int, count)
	for i := range list {
		list[i] = i*n/count + i%(n/count)
	}
	return list
}

// read returns image i as bytes.
func (s Images) read(i int) (*raster.Image, error) {
	m, err := s.Image(i)
	if err != nil {
		return nil, fmt.Errorf("image %d: %w", i, err)
	}
	return pixelsOf(m), nil
}

// pixelsOf returns the pixels of an image, without its transparency.
func pixelsOf(m image.Image) *raster.Image {
	b := m.Bounds()
	p := &raster.Image{Height: b.Dy(), Width: b.Dx(), Channels: 3}
	if grey, ok := m.(*image.Gray); ok {
		p.Channels = 1
		for y := range p.Height {
			p.Pix = append(p.Pix, grey.Pix[y*grey.Stride:][:p.Width]...)
		}
		return p
	}
	c, ok := m.(*image.NRGBA)
	if !ok {
		c = image.NewNRGBA(b)
		draw.Draw(c, b, m, b.Min, draw.Src)
	}
	p.Pix = make([]uint8, 0, p.Height*p.Width*p.Channels)
	for y := range p.Height {
		for row := c.Pix[y*c.Stride:][:4*p.Width]; len(row) > 0; row = row[4:] {
			p.Pix = append(p.Pix, row[:3]...)
		}
	}
	return p
}
