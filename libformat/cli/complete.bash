# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion, the part that all programs share: what there is comes from --complete-spec.

_bcfmt_complete() {
	local program=$1 cur=$2 prev=$3 command='' wanted='' choices='' spec word
	local kind forms type name commands
	local -a all=() options=()
	spec=$("$program" --complete-spec 2>/dev/null)
	COMPREPLY=()

	# "--level=fu" arrives as three words.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi

	while IFS=$'\t' read -r kind name _; do
		[[ $kind != command ]] || all+=("$name")
	done <<<"$spec"
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		if [[ -z $command && " ${all[*]} " == *" $word "* ]]; then
			command=$word
		fi
	done
	while IFS=$'\t' read -r kind forms type name commands _; do
		[[ $kind == option ]] || continue
		[[ $commands == - || ",$commands," == *",$command,"* ]] || continue
		options+=("${forms//,/ }")
		if [[ ",$forms," == *",$prev,"* && $type != none ]]; then
			wanted=$type
			choices=${name//|/ }
		fi
	done <<<"$spec"

	if [[ $wanted == choice ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$cur")
	elif [[ $wanted == @(text|number|size) ]]; then
		return
	elif [[ -z $wanted && $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${options[*]}" -- "$cur")
	elif [[ -z $wanted && -z $command && ${#all[@]} -gt 0 ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${all[*]}" -- "$cur")
	else
		compopt -o filenames 2>/dev/null
		if [[ $wanted == dir ]]; then
			mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		fi
	fi
}
