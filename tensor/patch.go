package tensor

import "fmt"

// Patchify cuts images [samples, channels*height*width], one channel after another, into patches of
// p x p: a row for each patch, in reading order, channel by channel, [samples*(height/p)*(width/p),
// channels*p*p]. It has no backward pass.
func (g *Graph) Patchify(images *Tensor, channels, height, width, p int) *Tensor {
	mustMatch("images", images, images.Rows, channels*height*width)
	g.mustNotRecord("Patchify", images)
	mustDivide(height, width, p)
	rows, cols := height/p, width/p
	out := g.New(images.Rows*rows*cols, channels*p*p)
	for s := range images.Rows {
		from := images.Row(s)
		for i := range rows * cols {
			to := out.Row(s*rows*cols + i)
			y, x := i/cols*p, i%cols*p
			for c := range channels {
				for dy := range p {
					copy(to[(c*p+dy)*p:][:p], from[(c*height+y+dy)*width+x:])
				}
			}
		}
	}
	return out
}

// Unpatchify assembles images from patches, [samples, channels*height*width]. A row holds a patch
// pixel by pixel, with the channels of a pixel together, as DiT's last layer does.
func (g *Graph) Unpatchify(patches *Tensor, channels, height, width, p int) *Tensor {
	mustDivide(height, width, p)
	rows, cols := height/p, width/p
	if rows*cols == 0 || patches.Rows%(rows*cols) != 0 {
		panic(fmt.Sprintf("tensor: unpatchify: %v is not a whole number of grids of %d x %d", patches, rows, cols))
	}
	mustMatch("patches", patches, patches.Rows, channels*p*p)
	out := g.New(patches.Rows/(rows*cols), channels*height*width)
	if !g.recording(patches) {
		for s := range out.Rows {
			eachPatchPixel(patches, out, s, channels, height, width, p, setImage)
		}
		return out
	}
	g.EachRow(out.Rows, out.Cols, func(s int) {
		eachPatchPixel(patches, out, s, channels, height, width, p, setImage)
	})
	g.record(out, func(dout *Tensor) {
		d := g.Grad(patches)
		g.EachRow(out.Rows, out.Cols, func(s int) {
			eachPatchPixel(d, dout, s, channels, height, width, p, addToPatch)
		})
	})
	return out
}

func setImage(patch, image *float32)   { *image = *patch }
func addToPatch(patch, image *float32) { *patch += *image }

// eachPatchPixel calls f with every element of the patches of sample s, in the order of Unpatchify,
// and its element of the image.
func eachPatchPixel(
	patches, images *Tensor, s, channels, height, width, p int, f func(patch, image *float32),
) {
	cols := width / p
	each := height / p * cols
	image := images.Row(s)
	for i := range each {
		patch := patches.Row(s*each + i)
		y, x := i/cols*p, i%cols*p
		for dy := range p {
			for dx := range p {
				for c := range channels {
					f(&patch[(dy*p+dx)*channels+c], &image[(c*height+y+dy)*width+x+dx])
				}
			}
		}
	}
}

func mustDivide(height, width, p int) {
	if p < 1 || height%p != 0 || width%p != 0 {
		panic(fmt.Sprintf("tensor: an image of %d x %d does not divide into patches of %d x %d", height, width, p, p))
	}
}
