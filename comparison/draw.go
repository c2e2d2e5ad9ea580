package comparison

import (
	"context"

	"github.com/tokencache/tokencache"
)

// draw draws the images of a cell from the have-th on, r.Count in the end. progress is told how many are drawn. Of an interrupted cell the chunks that are written count.
func (r *run) draw(ctx context.Context, d *drawn, have int, req tokencache.Request, progress func(drawn float64)) error {
	if err := d.save(); err != nil { // first of all, so that images are never there without what they are of
		return err
	}
	for from := have; from < r.Count; from += chunkImages {
		req.OnStep = func(s tokencache.Progress) {
			progress(float64(from-have) + float64(s.Images)*s.Share())
		}
		r.choose(&req, from, min(chunkImages, r.Count-from))
		result, err := r.Pipeline.Generate(ctx, req)
		if err != nil {
			return err
		}
		if err := d.write(from, result.Images); err != nil {
			return err
		}
		d.Stats = result.Stats
		if err := d.save(); err != nil {
			return err
		}
	}
	return nil
}
