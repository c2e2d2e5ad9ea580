package serve

import (
	"encoding/base64"
	"math"
	"sync"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/raster"
)

// preview is what a model takes an image to be in the middle of denoising: the x0 that its
// prediction implies. It is decoded when somebody looks at it.
type preview struct {
	p      *tokencache.Pipeline
	x0     []float32
	once   sync.Once
	base64 string // of a PNG file; "" if it has no image
}

// png returns the preview as a PNG file, in base64.
func (v *preview) png() string {
	v.once.Do(func() {
		img, err := v.p.Decode(v.x0)
		v.p, v.x0 = nil, nil
		if err != nil {
			return // nothing to see yet: numbers that are not finite
		}
		m := &raster.Image{Height: img.Height, Width: img.Width, Channels: img.Channels, Pix: img.Pixels}
		var b writer
		if raster.EncodePNG(&b, m) == nil {
			v.base64 = base64.StdEncoding.EncodeToString(b)
		}
	})
	return v.base64
}

// drop gives the preview up if nobody has looked at it.
func (v *preview) drop() {
	if v != nil {
		v.once.Do(func() { v.p, v.x0 = nil, nil })
	}
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// watch sets the hooks of a request for image index: for its cost, and for previews if they are
// wanted. They copy what they keep, and wait for nobody.
func (r *run) watch(req *tokencache.Request, index int) {
	p := r.g.p
	var newest *preview
	if p.Previews || p.Stream && p.PartialImages > 0 {
		plan, err := r.g.opened.Pipeline.Plan(req.Sampling)
		if err != nil {
			return // it was checked
		}
		levels := r.g.opened.Pipeline.Levels()
		var x []float32
		req.OnState = func(_, _ int, now []float32) { x = append(x[:0], now...) }
		req.OnPrediction = func(_, position int, out []float32) {
			newest = &preview{p: r.g.opened.Pipeline, x0: make([]float32, len(x))}
			levels.PredictedX0(newest.x0, x, out[:len(x)], plan.Timesteps[position])
		}
	}
	var computed []float32
	var ratios []int
	text := r.g.opened.Pipeline.Shape().Text
	if p.Previews {
		req.OnComputed = func(_, _ int, share []float32) {
			computed = append([]float32(nil), share[text:]...)
			sum := 0.0
			for _, c := range computed {
				sum += float64(c)
			}
			ratios = append(ratios, int(math.Round(100*sum/float64(len(computed)))))
		}
	}
	partial := 0
	req.OnStep = func(at tokencache.Progress) {
		r.s.queue.progress(at.FLOPs)
		if newest == nil {
			return
		}
		s := &stepped{
			index:    index,
			step:     at.Step,
			steps:    at.Steps,
			computed: computed,
			ratios:   ratios,
			preview:  newest,
		}
		r.change(func() {
			r.steps[index] = s
			if partial < p.PartialImages && at.Step < at.Steps && at.Step*(p.PartialImages+1) >= at.Steps*(partial+1) {
				number := partial
				partial++
				data := func() any { return r.partial(s, number) }
				r.events = append(r.events, event{eventPartial, data, s.preview})
			}
		})
	}
}
