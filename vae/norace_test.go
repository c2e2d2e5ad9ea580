//go:build !race

package vae

const raceDetector = false
