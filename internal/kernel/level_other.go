//go:build !amd64 && !arm64

package kernel

var levelNames = [...]string{Generic: "generic"}
