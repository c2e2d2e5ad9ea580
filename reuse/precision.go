package reuse

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/tensor"
)

// Precision says in which number format a model runs under a policy where none is asked for: the
// fastest that keeps the images. It is decided by measurement, of which it has the figures.
type Precision struct {
	DType   string  `json:"dtype"`       // chosen
	MaxLoss float64 `json:"max_loss_db"` // that a format may have

	Images  int    `json:"images"`
	Seed    uint64 `json:"seed"`
	Level   string `json:"cpu_level"` // that the speeds are of
	Command string `json:"command,omitempty"`
	Note    string `json:"note,omitempty"` // what was not measured

	Formats []FormatLoss `json:"formats"` // but float32, which they are compared with
}

// FormatLoss is what a number format gains and loses against float32 under the same policy.
type FormatLoss struct {
	DType   string  `json:"dtype"`
	Speedup float64 `json:"speedup"` // wall-clock
	// Loss is that of the mean PSNR to the converged solution, in dB; nil: there is none.
	Loss *float64 `json:"loss_db,omitempty"`
	PSNR float64  `json:"psnr_f32_db"` // mean, of its images to those of float32
	// Frechet is the factor by which the Fréchet distance from real images grows, with its paired 95 %
	// interval; nil: there are no real images.
	Frechet *FrechetFactor `json:"frechet_ratio,omitempty"`
	Keeps   bool           `json:"keeps"` // the images, as the bounds say
}

// FrechetFactor is a factor of a Fréchet distance with its interval.
type FrechetFactor struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Choose sets which formats keep the images, those that lose at most MaxLoss and whose Fréchet
// distance is not larger beyond its interval, and the fastest of them. A format of which no loss is
// known keeps nothing; float32 loses nothing.
func (p *Precision) Choose() {
	p.DType = tensor.F32.String()
	fastest := 1.0
	for i := range p.Formats {
		f := &p.Formats[i]
		f.Keeps = f.Loss != nil && *f.Loss <= p.MaxLoss && (f.Frechet == nil || f.Frechet.Low <= 1)
		if f.Keeps && f.Speedup > fastest {
			p.DType, fastest = f.DType, f.Speedup
		}
	}
}

// Format returns the number format that was chosen for a policy, float32 where none was.
func Format(p Policy) tensor.DType {
	t, ok := p.(*Trained)
	if !ok || t.Precision == nil {
		return tensor.F32
	}
	d, err := tensor.ParseDType(t.Precision.DType)
	if err != nil { // OpenFS refuses such files
		return tensor.F32
	}
	return d
}

// validate reports a choice that is of no number format, or not of those that were measured.
func (p *Precision) validate() error {
	d, err := tensor.ParseDType(p.DType)
	if err != nil {
		return fmt.Errorf("precision: %w", err)
	}
	same := func(f FormatLoss) bool { return f.DType == p.DType && f.Keeps }
	if d != tensor.F32 && !slices.ContainsFunc(p.Formats, same) {
		return fmt.Errorf("precision: dtype %s: want one of the formats that keep the images, or f32", p.DType)
	}
	return nil
}
