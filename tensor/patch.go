package tensor

import "fmt"

// Patchify cuts images [samples, channels*height*width], one channel after another, into patches of p x p: a row for each patch,
// in reading order, that holds the patch channel by channel, [samples*(height/p)*(width/p), channels*p*p].
func (g *Graph) Patchify(images *Tensor, channels, height, width, p int) *Tensor {
	mustMatch("images", images, images.Rows, channels*height*width)
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

// Unpatchify puts patches together again, [samples, channels*height*width]; a patch's row holds it pixel by pixel, the channels
// of a pixel together, as DiT's last layer gives it.
func (g *Graph) Unpatchify(patches *Tensor, channels, height, width, p int) *Tensor {
	mustDivide(height, width, p)
	rows, cols := height/p, width/p
	if rows*cols == 0 || patches.Rows%(rows*cols) != 0 {
		panic(fmt.Sprintf("tensor: unpatchify: %v is not a whole number of grids of %d x %d", patches, rows, cols))
	}
	mustMatch("patches", patches, patches.Rows, channels*p*p)
	out := g.New(patches.Rows/(rows*cols), channels*height*width)
	for s := range out.Rows {
		to := out.Row(s)
		for i := range rows * cols {
			from := patches.Row(s*rows*cols + i)
			y, x := i/cols*p, i%cols*p
			for dy := range p {
				for dx := range p {
					for c := range channels {
						to[(c*height+y+dy)*width+x+dx] = from[(dy*p+dx)*channels+c]
					}
				}
			}
		}
	}
	return out
}

func mustDivide(height, width, p int) {
	if p < 1 || height%p != 0 || width%p != 0 {
		panic(fmt.Sprintf("tensor: an image of %d x %d does not divide into patches of %d x %d", height, width, p, p))
	}
}
