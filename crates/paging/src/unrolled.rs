//! A loop over the levels that can link tables, top down, written out.

/// Runs `$body` for each level that `$format` does not fold, with `$level` a
/// constant in each copy: shifts and masks become immediate operands, and a
/// folded level leaves nothing behind. The compiler does not unroll the plain
/// loop, which costs a walk half of its speed.
macro_rules! for_each_linking_level {
    ($format:ty, $level:ident => $body:block) => {
        for_each_linking_level!(@copy $format, $level, PGD, $body);
        for_each_linking_level!(@copy $format, $level, P4D, $body);
        for_each_linking_level!(@copy $format, $level, PUD, $body);
        for_each_linking_level!(@copy $format, $level, PMD, $body);
    };
    (@copy $format:ty, $level:ident, $name:ident, $body:block) => {
        if !<$format as foliant_arch::Format>::GEOMETRY.is_folded(foliant_arch::Level::$name) {
            let $level = foliant_arch::Level::$name;
            $body
        }
    };
}

pub(crate) use for_each_linking_level;
