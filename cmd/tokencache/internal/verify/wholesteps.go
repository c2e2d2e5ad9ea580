package verify

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
)

type teacacheOptions struct {
	Threshold    float64   `json:"threshold"`
	Coefficients []float64 `json:"coefficients"` // highest power first
}

func recordedTeaCache(c *recording, name string, o teacacheOptions) (reuse.Policy, error) {
	slices.Reverse(o.Coefficients)
	return &reuse.TeaCache{
		Threshold:    o.Threshold,
		Coefficients: o.Coefficients,
		Halves:       recordedHalves(c.separate(name)),
	}, nil
}

// recordedHalves returns how guidance's halves decide.
func recordedHalves(separate bool) string {
	if separate {
		return reuse.SeparateHalves
	}
	return reuse.JointHalves
}

type seacacheOptions struct {
	Threshold    float64 `json:"threshold"`
	Power        float64 `json:"power"`
	First        int     `json:"first_steps"`
	FilterForced bool    `json:"filter_forced"`
	Separate     bool    `json:"separate"`
}

func recordedSeaCache(_ *recording, _ string, o seacacheOptions) (reuse.Policy, error) {
	return &reuse.SeaCache{
		Threshold:    o.Threshold,
		Power:        o.Power,
		Warmup:       o.First,
		FilterForced: o.FilterForced,
		Halves:       recordedHalves(o.Separate),
	}, nil
}

type magcacheOptions struct {
	Threshold float64 `json:"threshold"`
	MaxSkip   int     `json:"max_skip"`
	Retention float64 `json:"retention"`
}

// recordedMagCache takes the ratios of the file: of both halves together, [steps], or of each half,
// [steps, 2].
func recordedMagCache(c *recording, name string, o magcacheOptions) (reuse.Policy, error) {
	p := &reuse.MagCache{Threshold: o.Threshold, Skips: o.MaxSkip, Retention: o.Retention}
	if !c.separate(name) {
		ratios, err := c.Float32("mag_ratios")
		for _, v := range ratios {
			p.Ratios = append(p.Ratios, float64(v))
		}
		return p, err
	}
	ratios, err := c.matrix("mag_ratios_cond_null")
	if err != nil {
		return nil, err
	}
	for i := range ratios.Rows {
		p.Ratios = append(p.Ratios, float64(ratios.Row(i)[0]))
		p.NullRatios = append(p.NullRatios, float64(ratios.Row(i)[1]))
	}
	return p, nil
}

// magnitudeRatios checks the calibration of MagCache on the plain run of sample A: the ratios of
// both halves of guidance together, [steps], and of each, [steps, 2].
func (r *run) magnitudeRatios(m *dit.Model, c, inputs *recording) error {
	const together, halves = "mag_ratios_of_A", "mag_ratios_cond_null_of_A"
	if !c.has(together) || !c.has(halves) {
		return nil
	}
	info, _ := c.Lookup(together)
	measured := new(calibrate.MagnitudeRatios)
	r.work("%s/%s", c.stem, together)
	steps := fmt.Sprintf("ddim%d", info.Len())
	if _, err := r.fromSample(m, inputs, "A", steps, measured.Policy()); err != nil {
		return err
	}
	r.compareRecorded(c, together, float32s(measured.Ratios()), tolerance)
	cond, null := measured.Halves()
	var both []float32
	for p := range cond {
		both = append(both, float32(cond[p]), float32(null[p]))
	}
	r.compareRecorded(c, halves, both, tolerance)
	return nil
}

type spectrumOptions struct {
	W      float64 `json:"w"`
	M      int     `json:"m"`
	Lam    float64 `json:"lam"`
	Window float64 `json:"window"`
	Flex   float64 `json:"flex"`
	Warmup int     `json:"warmup"`
}

func recordedSpectrum(_ *recording, _ string, o spectrumOptions) (reuse.Policy, error) {
	return &reuse.Spectrum{
		Weight: o.W,
		Degree: o.M,
		Ridge:  o.Lam,
		Window: o.Window,
		Flex:   o.Flex,
		Warmup: o.Warmup,
	}, nil
}
