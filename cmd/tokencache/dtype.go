package main

import (
	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
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

// under returns the number format that is meant under a policy.
func (n dtypeName) under(policy reuse.Policy, model string, minPSNR float64) tokencache.DType {
	if n != auto {
		return n.dtype()
	}
	return models.FormatUnder(policy, dit.Packed(model), minPSNR)
}
