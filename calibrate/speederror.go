package calibrate

import "fmt"

// SpeedError reports a speed that a method has no setting for, and what it has.
type SpeedError struct{ What string }

func (e *SpeedError) Error() string { return e.What }

// unmet returns a SpeedError.
func unmet(format string, args ...any) error { return &SpeedError{fmt.Sprintf(format, args...)} }
