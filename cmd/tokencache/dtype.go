package main

import (
	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
)

// dtypeName is the value of --dtype.
type dtypeName string

// auto is float32, or where a policy is in use what was shown to keep its images.
const auto dtypeName = "auto"

// dtype returns the number format that is meant where there is no policy.
func (n dtypeName) dtype() tokencache.DType {
	d, err := tokencache.ParseDType(string(n))
	if err != nil { // auto: the flag allows no other
		return tokencache.F32
	}
	return d
}

// under returns the number format that is meant under a policy. Auto is what calibration chose for
// it, except that a promised PSNR was calibrated in float32, and that a packed file, and portable
// code, which has no instructions for fewer bits, stay as they are.
func (n dtypeName) under(policy reuse.Policy, model string, minPSNR float64) tokencache.DType {
	d := n.dtype()
	if n != auto || minPSNR > 0 || kernel.ActiveLevel() == kernel.Generic || dit.Packed(model) {
		return d
	}
	return reuse.Format(policy)
}
