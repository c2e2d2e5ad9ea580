// Package comparison runs cache policies on one model from the same noise and measures speed and
// quality: Run compares policies, Search finds the best one that meets a Target. Finished results
// are kept in a folder and not measured again.
//
// It may use the library, calibration, evaluation and the report; it prints nothing.
package comparison
