package verify

import "github.com/tokencache/tokencache/reuse"

// recordedMethods are the methods whose files of several runs are reproduced, by the name that the
// metadata entry method has.
var recordedMethods = map[string]recordedMethod{
	"cem":      {policy: from(recordedCEM), rest: (*run).plannedPriors},
	"dpcache":  {policy: from(recordedDPCache), rest: (*run).plannedPaths},
	"hicache":  {policy: from(recordedHiCache)},
	"l2p":      {policy: from(recordedL2P), rest: (*run).plannedWeights},
	"magcache": {policy: from(recordedMagCache), rest: (*run).magnitudeRatios},
	"plain":    {policy: from(recordedPlain)},
	"seacache": {policy: from(recordedSeaCache)},
	"spectrum": {policy: from(recordedSpectrum)},
	"teacache": {policy: from(recordedTeaCache)},
}

func recordedPlain(*recording, string, struct{}) (reuse.Policy, error) { return reuse.None{}, nil }

type hicacheOptions struct {
	Interval int     `json:"interval"`
	Order    int     `json:"order"`
	First    int     `json:"first"`
	Sigma    float64 `json:"sigma"`
	Basis    string  `json:"basis"`
}

func recordedHiCache(_ *recording, _ string, o hicacheOptions) (reuse.Policy, error) {
	basis, ok := map[string]string{
		"":              reuse.HermiteBasis,
		"taylor_scaled": reuse.ScaledTaylorBasis,
	}[o.Basis]
	if !ok {
		return nil, nil
	}
	return &reuse.HiCache{
		Interval: o.Interval,
		Order:    o.Order,
		Warmup:   o.First,
		Sigma:    o.Sigma,
		Basis:    basis,
	}, nil
}
