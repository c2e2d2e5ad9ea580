package verify

import (
	"strings"

	"github.com/tokencache/tokencache/reuse"
)

type dbcacheOptions struct {
	Fn            int     `json:"Fn"`
	Bn            int     `json:"Bn"`
	Warmup        int     `json:"warmup"`
	Threshold     float64 `json:"threshold"`
	MaxContinuous int     `json:"max_continuous"`
	Calibrator    string  `json:"calibrator"`
	Separate      bool    `json:"separate"`
}

func recordedDBCache(_ *recording, _ string, o dbcacheOptions) (reuse.Policy, error) {
	order, ok := map[string]int{"": 0, "taylorseer order 1": 1, "taylorseer order 2": 2}[o.Calibrator]
	if !ok {
		return nil, nil
	}
	p := reuse.NewDBCache()
	p.Front, p.Back, p.Threshold, p.Warmup = o.Fn, o.Bn, o.Threshold, o.Warmup
	p.MaxContinuous, p.Order = o.MaxContinuous, order
	if !o.Separate {
		p.Halves = reuse.JointHalves
	}
	return p, nil
}

type easycacheOptions struct {
	Threshold  float64 `json:"threshold"`
	FirstSteps int     `json:"first_steps"`
}

func recordedEasyCache(_ *recording, name string, o easycacheOptions) (reuse.Policy, error) {
	p := &reuse.EasyCache{Threshold: o.Threshold, Warmup: o.FirstSteps}
	switch {
	case strings.HasPrefix(name, "joint_"):
		p.Halves = reuse.JointHalves
	case strings.HasPrefix(name, "cond_decides_"):
		p.Halves = reuse.ConditionalHalf
	default:
		return nil, nil
	}
	return p, nil
}

type fastercacheOptions struct {
	Start          int     `json:"start"`
	Every          int     `json:"every"`
	StoreFrom      int     `json:"store_from"`
	LowScaledBelow int     `json:"low_scaled_below"`
	HighScaledFrom int     `json:"high_scaled_from"`
	Weight         float64 `json:"weight"`
}

func recordedFasterCache(_ *recording, _ string, o fastercacheOptions) (reuse.Policy, error) {
	if o.LowScaledBelow != o.HighScaledFrom || o.StoreFrom >= o.Start {
		return nil, nil
	}
	return &reuse.FasterCache{
		Start:    o.Start,
		Interval: o.Every,
		High:     o.HighScaledFrom,
		Weight:   o.Weight,
	}, nil
}

type specaOptions struct {
	Order         int     `json:"order"`
	BaseThreshold float64 `json:"base_threshold"`
	Decay         float64 `json:"decay"`
	MinTaylor     int     `json:"min_taylor"`
	MaxTaylor     int     `json:"max_taylor"`
	Metric        string  `json:"metric"`
}

func recordedSpeCa(_ *recording, _ string, o specaOptions) (reuse.Policy, error) {
	return &reuse.SpeCa{
		Order:     o.Order,
		Threshold: o.BaseThreshold,
		Decay:     o.Decay,
		Min:       o.MinTaylor,
		Max:       o.MaxTaylor,
		Metric:    strings.ReplaceAll(o.Metric, "_", "-"),
		Halves:    reuse.JointHalves,
	}, nil
}
