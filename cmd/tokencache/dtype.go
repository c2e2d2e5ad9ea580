package main

import "github.com/tokencache/tokencache"

// dtypeName is the value of --dtype.
type dtypeName string

// dtype returns the number format that is meant. What auto chooses is float32 until another one is
// shown to keep the images.
func (n dtypeName) dtype() tokencache.DType {
	d, err := tokencache.ParseDType(string(n))
	if err != nil { // auto: the flag allows no other
		return tokencache.F32
	}
	return d
}
