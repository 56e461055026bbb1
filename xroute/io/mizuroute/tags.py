"""Tags of control files, as mizuRoute's manual and its reader have them: those that nobody knows are likely misspelt."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["unknown_tags"]

KNOWN = frozenset(
    """
    ancil_dir basRunoff bypass_routing_option case_name checkMassBalance computeReachList continue_run correct_area debug
    desireId dlayRunoff dname_data_remap dname_gageSite dname_gageTime dname_hruid dname_hru_remap dname_nhru
    dname_segid_wm dname_sseg dname_time dname_time_wm dname_xlon dname_ylat doesBasinRoute dt_qsim dt_ro dt_wm
    DWfloodVolume DWheight DWroutedRunoff DWvolume floodplain fname_gageObs fname_ntopNew fname_ntopOld fname_qsim
    fname_remap fname_state_in fname_wm gageMetaFile histTimeStamp_offset hw_drain_point hydGeometryOption ice_runoff
    input_dir input_fillvalue instRunoff IRFroutedRunoff IRFvolume is_Ep_upward_negative is_flux_wm is_lake_sim is_remap
    is_vol_wm is_vol_wm_jumpstart KWfloodVolume KWheight KWroutedRunoff KWTroutedRunoff KWTvolume KWvolume
    LakeInputOption lakeRegulate localSolute maxPfafLen MCfloodVolume MCheight MCroutedRunoff MCvolume min_length_route
    newFileFrequency ntopAugmentMode offset_value_Ep offset_value_prec offset_value_runoff outputAtGage outputFrequency
    outputInflow outputNameOption output_dir param_nml pfafMissing pio_netcdf_format pio_netcdf_type qBlendPeriod
    QerrTrend qgwl_runoff_option qmodOption restart_date restart_day restart_dir restart_hour restart_month restart_write
    route_opt ro_calendar ro_time_stamp ro_time_units runoffMin scale_factor_Ep scale_factor_prec scale_factor_runoff
    seg_outlet sim_end sim_start soluteFlux soluteMass strlen_gageSite sumUpstreamRunoff time_units topoNetworkOption
    tracer units_cc units_qsim vname_evapo vname_flux_wm vname_gageFlow vname_gageSite vname_gageTime vname_hruid
    vname_hruid_in_remap vname_i_index vname_j_index vname_num_qhru vname_precip vname_qhruid vname_qsim vname_segid_wm
    vname_solute vname_time vname_time_wm vname_vol_wm vname_weight
    """.split()
)
OLDER = frozenset("dt_rof fname_output fname_state_out restart_opt restart_year nThresh isRestart version".split())
"""Tags of older versions, and one that the manual has."""


def unknown_tags(tags: Iterable[str]) -> list[str]:
    """Those of some tags that mizuRoute does not have; names of the network's variables (``varname_...``) are many, and pass."""
    return sorted(tag for tag in tags if tag not in KNOWN and tag not in OLDER and not tag.startswith("varname_"))
